import { checkRequest } from '../../../inference/request-check.ts';
import { GREEDY, sequenceRequest } from '../../helpers/engine-runs.ts';

const BOUNDS = { vocabSize: 1000, contextLength: 100, poolTokens: 256 };
const ones = (count: number): number[] => Array.from({ length: count }, () => 1);

describe('checkRequest', () => {
  it.each([
    ['no prompt', { promptTokenIds: [] }, 'promptTokenIds'],
    ['an id beyond the vocabulary', { promptTokenIds: [1000] }, 'promptTokenIds'],
    ['a negative id', { promptTokenIds: [-1] }, 'promptTokenIds'],
    ['a fractional id', { promptTokenIds: [0.5] }, 'promptTokenIds'],
    ['an output id beyond the vocabulary', { outputTokenIds: [1000] }, 'outputTokenIds'],
    ['a stop id beyond the vocabulary', { stopTokenIds: [1000] }, 'stopTokenIds'],
    ['no output', { maxTokens: 0 }, 'maxTokens'],
    ['half a token', { maxTokens: 1.5 }, 'maxTokens'],
    ['a priority that is no number', { priority: NaN }, 'priority'],
    [
      'a temperature that is no number',
      { sampling: { ...GREEDY, temperature: NaN } },
      'temperature',
    ],
    ['a negative temperature', { sampling: { ...GREEDY, temperature: -1 } }, 'temperature'],
    ['an empty nucleus', { sampling: { ...GREEDY, topP: 0 } }, 'topP'],
    ['a nucleus that is no number', { sampling: { ...GREEDY, topP: NaN } }, 'topP'],
    ['a negative number of candidates', { sampling: { ...GREEDY, topK: -1 } }, 'topK'],
    ['a seed that is too large', { sampling: { ...GREEDY, seed: 2 ** 32 } }, 'seed'],
  ])('refuses %s', (_name, fields, param) => {
    expect(() => checkRequest({ ...sequenceRequest([1]), ...fields }, BOUNDS)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', param }),
    );
  });

  it('lets a prompt leave room for one token, and not for none', () => {
    expect(() => checkRequest(sequenceRequest(ones(99)), BOUNDS)).not.toThrow();
    expect(() => checkRequest(sequenceRequest(ones(100)), BOUNDS)).toThrow(
      expect.objectContaining({ code: 'CONTEXT_LENGTH_EXCEEDED' }),
    );
  });

  it('refuses what could not reach its end alone in the pool', () => {
    const bounds = { ...BOUNDS, poolTokens: 32 };
    expect(() => checkRequest(sequenceRequest(ones(22)), bounds)).not.toThrow();
    expect(() => checkRequest(sequenceRequest(ones(23)), bounds)).toThrow(
      expect.objectContaining({ code: 'CONTEXT_LENGTH_EXCEEDED' }),
    );
  });
});
