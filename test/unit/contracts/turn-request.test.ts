import { turnParams } from '../../../contracts/turn-request.ts';

describe('turnParams', () => {
  it('reads a row from before penalties and samples, with one reply and all of them off', () => {
    const row = { maxTokens: 9, temperature: 1, topP: 0.9, seed: 1, stop: [], reasoning: false };
    expect(turnParams.parse(row)).toEqual({
      ...row,
      topK: 0,
      minP: 0,
      n: 1,
      logprobs: null,
      repetitionPenalty: 1,
      frequencyPenalty: 0,
      presencePenalty: 0,
      logitBias: [],
    });
  });
});
