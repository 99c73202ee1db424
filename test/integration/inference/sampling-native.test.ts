// What the sampling parameters do to replies of real weights.
import type { SamplingParams, ServedModel, TokenLogprobs } from '../../../contracts/engine.ts';
import { createServedModel } from '../../../inference/served-model.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { MODEL_PATH, describeWithModel } from './native/model.ts';

const GREEDY: SamplingParams = { temperature: 0, topP: 1, topK: 0, seed: 0 };

describeWithModel('sampling parameters on real weights', () => {
  let model: ServedModel;
  beforeAll(() => {
    model = createServedModel({
      modelPath: MODEL_PATH,
      kvPoolBytes: 64 << 20,
      threads: 0,
      maxNumBatchedTokens: 256,
      maxNumSeqs: 16,
    });
  });
  afterAll(() => model.close());

  const requestFor = (content: string, maxTokens: number, more: Partial<SamplingParams>) =>
    sequenceRequest(model.encodePrompt([{ role: 'user', content }]), {
      maxTokens,
      stopTokenIds: model.stopTokenIds,
      sampling: { ...GREEDY, ...more },
    });
  const tokensOf = async (
    content: string,
    maxTokens: number,
    more: Partial<SamplingParams> = {},
  ): Promise<number[]> =>
    (await runSequence(model.engine, requestFor(content, maxTokens, more))).tokens;

  /** Tokens at the end that only repeat those some tokens before them, a dozen at most. */
  const loopLength = (tokens: readonly number[]): number => {
    const repeated = Array.from({ length: 12 }, (_, before) => {
      const period = before + 1;
      const other = tokens.findLastIndex((id, at) => at >= period && id !== tokens[at - period]);
      return tokens.length - 1 - Math.max(other, period - 1);
    });
    return Math.max(...repeated);
  };

  it('never says a token with a bias of −100, and says one with +100 whatever the temperature', async () => {
    const [first = -1, ...rest] = await tokensOf('Hi', 8);
    const without = await tokensOf('Hi', 8, { logitBias: [[first, -100]] });
    expect(without).not.toContain(first);
    expect(without.length).toBeGreaterThan(0);
    const forced = rest[0] ?? -1;
    for (const temperature of [0, 1, 2]) {
      const tokens = await tokensOf('Hi', 8, { temperature, logitBias: [[forced, 100]] });
      expect(tokens).toEqual(Array(8).fill(forced));
    }
  });

  it.each([{ presencePenalty: 1 }, { frequencyPenalty: 1 }, { repetitionPenalty: 1.2 }])(
    'gets a greedy reply out of its loop with %p',
    async (penalty) => {
      const question = 'What is the capital of France?';
      expect(loopLength(await tokensOf(question, 60))).toBeGreaterThan(20);
      expect(loopLength(await tokensOf(question, 60, penalty))).toBeLessThan(10);
    },
  );

  it('makes every reply greedy with a min-p of 1, and with fewer candidates others than with all', async () => {
    const hot = { temperature: 2, seed: 5 };
    const greedy = await tokensOf('Tell me a story.', 16);
    expect(await tokensOf('Tell me a story.', 16, { ...hot, minP: 1 })).toEqual(greedy);
    const all = await tokensOf('Tell me a story.', 16, hot);
    expect(await tokensOf('Tell me a story.', 16, { ...hot, minP: 0.05 })).not.toEqual(all);
  });

  it('gives logprobs beside the tokens, without changing these', async () => {
    const heard: { tokenId: number; logprobs: TokenLogprobs }[] = [];
    await new Promise<void>((resolve) => {
      model.engine.submit(requestFor('Hi', 8, { logprobs: 3 }), {
        onTokens: ([tokenId = -1], [logprobs] = []) => {
          if (logprobs !== undefined) heard.push({ tokenId, logprobs });
        },
        onFinish: () => resolve(),
      });
    });
    expect(heard.map(({ tokenId }) => tokenId)).toEqual(await tokensOf('Hi', 8));
    for (const { tokenId, logprobs } of heard) {
      const [best, second, third] = logprobs.top;
      expect(logprobs.top).toHaveLength(3);
      expect(best).toEqual({ tokenId, logprob: logprobs.logprob });
      expect(Math.exp(logprobs.logprob)).toBeLessThanOrEqual(1);
      expect(best?.logprob).toBeGreaterThanOrEqual(second?.logprob ?? NaN);
      expect(second?.logprob).toBeGreaterThanOrEqual(third?.logprob ?? NaN);
    }
  });
});
