import { Silence } from '../../../postgres/silence.ts';

describe('Silence', () => {
  let now = 0;
  const silence = new Silence(() => now);

  it('lasts from a statement without an answer to the next one with an answer, or for five seconds', () => {
    expect(silence.isSilent).toBe(false);
    silence.onEnd(false);
    now += 4999;
    expect(silence.isSilent).toBe(true);
    now += 1;
    expect(silence.isSilent).toBe(false);
    silence.onEnd(false);
    silence.onEnd(true);
    expect(silence.isSilent).toBe(false);
  });
});
