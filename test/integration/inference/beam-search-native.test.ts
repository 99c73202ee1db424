// Beam search on real weights: what the slow search finds, alone and in company.
import type {
  SamplingParams,
  SequenceRequest,
  ServedModel,
  TokenLogprobs,
} from '../../../contracts/engine.ts';
import { createServedModel } from '../../../inference/served-model.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { slowBeamSearch } from '../../helpers/slow-beam-search.ts';
import { MODEL_PATH, describeWithModel } from './native/model.ts';

const GREEDY: SamplingParams = { temperature: 0, topP: 1, topK: 0, seed: 0 };
const NUM_BEAMS = 4;
const PROMPTS = ['Name three rivers.', 'Say hello.', 'What is 2 + 2?'];

describeWithModel('beam search on real weights', () => {
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
  afterEach(() => expect(model.engine.stats().kvBlocks.used).toBe(0));
  afterAll(() => model.close());

  const requestFor = (content: string, more: Partial<SequenceRequest> = {}): SequenceRequest =>
    sequenceRequest(model.encodePrompt([{ role: 'user', content }]), {
      maxTokens: 12,
      stopTokenIds: model.stopTokenIds,
      sampling: GREEDY,
      ...more,
    });

  function runBeams(request: SequenceRequest): Promise<number[][]> {
    const replies: number[][] = Array.from({ length: request.numSamples ?? 1 }, () => []);
    let numEnded = 0;
    return new Promise((resolve) =>
      model.engine.submit(request, {
        onTokens: (ids, _logprobs, index = 0) => replies[index]?.push(...ids),
        onFinish: () => {
          numEnded += 1;
          if (numEnded === replies.length) resolve(replies);
        },
      }),
    );
  }

  /** The 20 likeliest tokens after a context, from a sequence of its own. */
  function likely(context: readonly number[]): Promise<[number, number][]> {
    const sampling = { ...GREEDY, logprobs: 20 };
    const request = sequenceRequest(context, { maxTokens: 1, sampling });
    return new Promise((resolve) => {
      let told: readonly TokenLogprobs[] = [];
      model.engine.submit(request, {
        onTokens: (_ids, logprobs = []) => (told = logprobs),
        onFinish: () =>
          resolve((told[0]?.top ?? []).map(({ tokenId, logprob }) => [tokenId, logprob])),
      });
    });
  }

  it('is greedy decoding with one beam', async () => {
    for (const content of PROMPTS) {
      const { tokens } = await runSequence(model.engine, requestFor(content));
      expect(await runBeams(requestFor(content, { numBeams: 1 }))).toEqual([tokens]);
    }
  });

  it('finds what the slow search finds, alone and beside others', async () => {
    const requests = PROMPTS.map((content) =>
      requestFor(content, { numBeams: NUM_BEAMS, numSamples: 2 }),
    );
    const found = await Promise.all([
      ...requests.map(runBeams),
      runSequence(model.engine, requestFor('Tell me of the sea.', { maxTokens: 30 })),
    ]);
    for (const [at, request] of requests.entries()) {
      const expected = await slowBeamSearch({
        prompt: request.promptTokenIds,
        numBeams: NUM_BEAMS,
        lengthPenalty: 1,
        maxTokens: request.maxTokens,
        stops: model.stopTokenIds,
        distribution: likely,
      });
      expect(found[at]).toEqual(expected.slice(0, 2).map(({ tokenIds }) => tokenIds));
      const again = { ...request, seqId: `${request.seqId}-alone` };
      expect(await runBeams(again)).toEqual(found[at]);
    }
  }, 60_000);
});
