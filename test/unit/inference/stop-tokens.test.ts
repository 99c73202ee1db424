import { stopTokenIdsOf } from '../../../inference/stop-tokens.ts';

const vocabulary = (ids: Record<string, number>) => ({
  encode: () => new Int32Array(),
  controlTokenId: (text: string) => ids[text] ?? null,
});
const template = { endId: 2, render: () => [] };

describe('stopTokenIdsOf', () => {
  it('names the end of a message, the file’s own and the ends of a text, each once', () => {
    const ends = vocabulary({ '<|endoftext|>': 0, '<|end_of_text|>': 9 });
    expect(stopTokenIdsOf(template, 2, ends)).toEqual([2, 0, 9]);
    expect(stopTokenIdsOf(template, 7, ends)).toEqual([2, 7, 0, 9]);
  });

  it('leaves out what a vocabulary has not', () => {
    expect(stopTokenIdsOf(template, null, vocabulary({}))).toEqual([2]);
  });
});
