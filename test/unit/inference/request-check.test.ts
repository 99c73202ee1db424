import type { SamplingParams, SequenceRequest } from '../../../contracts/engine.ts';
import { checkRequest } from '../../../inference/request-check.ts';
import { GREEDY, sequenceRequest } from '../../helpers/engine-runs.ts';

const BOUNDS = {
  vocabSize: 1000,
  contextLength: 100,
  poolTokens: 256,
  blockSize: 16,
  maxNumSeqs: 8,
};
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
    ['no reply', { numSamples: 0 }, 'numSamples'],
    ['more replies than run at once', { numSamples: 9 }, 'numSamples'],
    ['replies that were begun together', { numSamples: 2, outputTokenIds: [1] }, 'numSamples'],
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
    ['a nucleus that is 0 in 32 bits', { sampling: { ...GREEDY, topP: 1e-50 } }, 'topP'],
    ['a min-p above 1', { sampling: { ...GREEDY, minP: 1.1 } }, 'minP'],
    ['a min-p that is no number', { sampling: { ...GREEDY, minP: NaN } }, 'minP'],
    [
      'no repetition at all',
      { sampling: { ...GREEDY, repetitionPenalty: 0 } },
      'repetitionPenalty',
    ],
    [
      'a repetition penalty that is 0 in 32 bits',
      { sampling: { ...GREEDY, repetitionPenalty: 1e-50 } },
      'repetitionPenalty',
    ],
    [
      'a repetition penalty above 2',
      { sampling: { ...GREEDY, repetitionPenalty: 2.1 } },
      'repetitionPenalty',
    ],
    [
      'a frequency penalty below −2',
      { sampling: { ...GREEDY, frequencyPenalty: -2.1 } },
      'frequencyPenalty',
    ],
    [
      'a presence penalty that is no number',
      { sampling: { ...GREEDY, presencePenalty: NaN } },
      'presencePenalty',
    ],
    ['a bias above 100', { sampling: { ...GREEDY, logitBias: [[1, 101]] } }, 'logitBias'],
    ['a bias that is no number', { sampling: { ...GREEDY, logitBias: [[1, NaN]] } }, 'logitBias'],
    [
      'a bias of an id beyond the vocabulary',
      { sampling: { ...GREEDY, logitBias: [[1000, 1]] } },
      'logitBias',
    ],
    [
      'two biases of one id',
      {
        sampling: {
          ...GREEDY,
          logitBias: [
            [1, 1],
            [1, 2],
          ],
        },
      },
      'logitBias',
    ],
    [
      '301 biases',
      { sampling: { ...GREEDY, logitBias: Array.from({ length: 301 }, (_, id) => [id, 1]) } },
      'logitBias',
    ],
    ['21 alternatives', { sampling: { ...GREEDY, logprobs: 21 } }, 'logprobs'],
    ['half an alternative', { sampling: { ...GREEDY, logprobs: 0.5 } }, 'logprobs'],
  ])('refuses %s', (_name, fields, param) => {
    const request = { ...sequenceRequest([1]), ...fields } as SequenceRequest;
    expect(() => checkRequest(request, BOUNDS)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', param }),
    );
  });

  it('lets each sampling parameter reach its bounds', () => {
    const low: SamplingParams = {
      temperature: 0,
      topP: 1e-30,
      topK: 0,
      seed: 0,
      minP: 0,
      repetitionPenalty: 1e-30,
      frequencyPenalty: -2,
      presencePenalty: -2,
      logitBias: [[0, -100]],
      logprobs: 0,
    };
    const high: SamplingParams = {
      temperature: 100,
      topP: 1,
      topK: 0x7fff_ffff,
      seed: 0xffff_ffff,
      minP: 1,
      repetitionPenalty: 2,
      frequencyPenalty: 2,
      presencePenalty: 2,
      logitBias: Array.from({ length: 300 }, (_, id) => [id + 700, 100] as const),
      logprobs: 20,
    };
    for (const sampling of [low, high, { ...low, logprobs: null }])
      expect(() => checkRequest(sequenceRequest([1], { sampling }), BOUNDS)).not.toThrow();
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
