import { TokenTable } from '../../../../inference/tokenizer/token-table.ts';

const table = new TokenTable(Uint8Array.of(97, 98, 99), Int32Array.of(0, 1, 1, 3));

describe('TokenTable', () => {
  it('gives each token its bytes, and a control token none', () => {
    expect([0, 1, 2].map((id) => [...table.bytesOf(id)])).toEqual([[97], [], [98, 99]]);
  });

  it.each([3, -1, 0.5, NaN])('refuses %d, which is no token', (id) => {
    expect(() => table.bytesOf(id)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });
});
