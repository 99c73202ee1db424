import fc from 'fast-check';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import { StepEngine } from '../../../inference/engine.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor, ranked } from '../../helpers/fake-executor.ts';
import { slowBeamSearch } from '../../helpers/slow-beam-search.ts';

const VOCAB = 9;
const silent = { onTokens: () => undefined, onFinish: () => undefined };
const range = (count: number): number[] => Array.from({ length: count }, (_, id) => id);

/** Logprobs that any change of the context changes; some tokens are equally likely. */
function distribution(context: readonly number[]): number[] {
  const hash = context.reduce((sum, id) => (Math.imul(sum, 31) + id + 7) >>> 0, 17);
  const weights = range(VOCAB).map((id) => 1 + ((hash >>> (id * 3)) % 8));
  const total = weights.reduce((sum, each) => sum + each);
  return weights.map((weight) => Math.fround(Math.log(weight / total)));
}

interface Options {
  readonly numBlocks?: number;
  readonly maxNumSeqs?: number;
  readonly numSwapBlocks?: number;
  readonly isManual?: boolean;
}

function engineOf({ numBlocks = 80, maxNumSeqs = 10, numSwapBlocks = 0, isManual }: Options = {}) {
  const executor = new FakeExecutor({
    numBlocks,
    numSwapBlocks,
    vocabSize: VOCAB,
    distribution,
    isManual: isManual ?? false,
  });
  const engine = new StepEngine(executor, {
    maxNumBatchedTokens: 16,
    maxNumSeqs,
    contextLength: 60,
    maxDraftTokens: 3,
    onStep: () => engine.checkIntegrity(),
  });
  return { executor, engine };
}

interface Reply {
  readonly tokenIds: readonly number[];
  readonly reason: string;
}

/** Submits; resolves with the replies in order once all have ended. Rejects when one is told twice or after its end. */
function runBeams(engine: StepEngine, request: SequenceRequest): Promise<Reply[]> {
  const replies: { tokenIds: readonly number[]; reason: string }[] = [];
  return new Promise((resolve, reject) => {
    engine.submit(request, {
      onTokens: (tokenIds, _logprobs, index = 0) => {
        if (replies[index] !== undefined) reject(new Error(`reply ${index} was told twice`));
        replies[index] = { tokenIds: [...tokenIds], reason: '' };
      },
      onFinish: ({ reason }, _cached, index = 0) => {
        const told = replies[index];
        if (told !== undefined && told.reason !== '') reject(new Error(`${index} ended twice`));
        replies[index] = { tokenIds: told?.tokenIds ?? [], reason };
        const numEnded = replies.filter((each) => each !== undefined && each.reason !== '').length;
        if (numEnded === (request.numSamples ?? 1)) resolve(replies);
      },
    });
  });
}

async function expectedReplies(request: SequenceRequest): Promise<Reply[]> {
  const { promptTokenIds, numBeams = 1, lengthPenalty = 1, maxTokens, stopTokenIds } = request;
  const found = await slowBeamSearch({
    prompt: promptTokenIds,
    numBeams,
    lengthPenalty,
    maxTokens: Math.min(maxTokens, 60 - promptTokenIds.length),
    stops: stopTokenIds,
    distribution: (context) => [...distribution(context).entries()],
  });
  return found
    .slice(0, request.numSamples ?? 1)
    .map(({ tokenIds, reason }) => ({ tokenIds, reason }));
}

const one = fc.record({
  prompt: fc.array(fc.nat(VOCAB - 1), { minLength: 1, maxLength: 20 }),
  numBeams: fc.integer({ min: 1, max: 5 }),
  numSamples: fc.integer({ min: 1, max: 5 }),
  maxTokens: fc.integer({ min: 1, max: 12 }),
  lengthPenalty: fc.constantFrom(-1, 0, 0.6, 1, 2),
  stops: fc.uniqueArray(fc.nat(VOCAB - 1), { maxLength: 2 }),
  priority: fc.integer({ min: 1, max: 3 }),
  isSearch: fc.boolean(),
});
/** Long enough to take each other's blocks. */
const crowded = fc.record({
  prompt: fc.array(fc.nat(VOCAB - 1), { minLength: 1, maxLength: 12 }),
  numBeams: fc.integer({ min: 1, max: 4 }),
  numSamples: fc.integer({ min: 1, max: 4 }),
  maxTokens: fc.integer({ min: 16, max: 24 }),
  lengthPenalty: fc.constantFrom<One['lengthPenalty']>(0, 1),
  stops: fc.constantFrom<number[]>([], [], [3]),
  priority: fc.integer({ min: 1, max: 3 }),
  isSearch: fc.boolean(),
});
type One = typeof one extends fc.Arbitrary<infer Value> ? Value : never;

function requestOf({
  prompt,
  numBeams,
  numSamples,
  stops,
  isSearch,
  ...rest
}: One): SequenceRequest {
  const search = { numBeams, numSamples: Math.min(numSamples, numBeams) };
  return sequenceRequest(prompt, {
    ...rest,
    stopTokenIds: stops,
    ...(isSearch ? search : { lengthPenalty: undefined }),
  });
}

function greedyReply({ promptTokenIds, maxTokens, stopTokenIds }: SequenceRequest): Reply {
  const tokenIds: number[] = [];
  while (tokenIds.length < maxTokens && promptTokenIds.length + tokenIds.length < 60) {
    const [best = 0] = ranked(distribution([...promptTokenIds, ...tokenIds]));
    if (stopTokenIds.includes(best)) return { tokenIds, reason: 'stop' };
    tokenIds.push(best);
  }
  return { tokenIds, reason: 'length' };
}

async function greedyReplies(request: SequenceRequest): Promise<Reply[]> {
  return [greedyReply(request)];
}

describe('beam search', () => {
  it('finds what the slow search over the whole vocabulary finds', async () => {
    await fc.assert(
      fc.asyncProperty(one, async (asked) => {
        const { engine } = engineOf();
        const request = requestOf({ ...asked, isSearch: true });
        expect(await runBeams(engine, request)).toEqual(await expectedReplies(request));
        await engine.close();
        expect(engine.stats().kvBlocks.used).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  it('finds it in any company, whatever blocks it loses on the way, and changes no other sequence', async () => {
    let numPreempted = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(crowded, { minLength: 6, maxLength: 14 }),
        fc.integer({ min: 40, max: 44 }),
        fc.constantFrom(0, 20),
        async (all, numBlocks, numSwapBlocks) => {
          const { engine } = engineOf({ numBlocks, numSwapBlocks, maxNumSeqs: 16 });
          const requests = all.map(requestOf);
          const replies = await Promise.all(requests.map((each) => runMany(engine, each)));
          expect(replies).toEqual(
            await Promise.all(
              requests.map((each) =>
                each.numBeams === undefined ? greedyReplies(each) : expectedReplies(each),
              ),
            ),
          );
          numPreempted += engine.stats().numPreemptions;
          await engine.close();
          expect(engine.stats()).toMatchObject({ kvBlocks: { used: 0 }, numSwappedBlocks: 0 });
        },
      ),
      { numRuns: 200 },
    );
    expect(numPreempted).toBeGreaterThan(20);
  });

  it('is greedy decoding with one beam', async () => {
    await fc.assert(
      fc.asyncProperty(one, async (asked) => {
        const { engine } = engineOf();
        const request = requestOf({ ...asked, numBeams: 1, isSearch: true });
        expect(await runBeams(engine, request)).toEqual([greedyReply(request)]);
        await engine.close();
      }),
    );
  });

  it('finds the very best reply when it can look at all of them', async () => {
    const allOf = (length: number): number[][] =>
      length === 0 ? [[]] : allOf(length - 1).flatMap((ids) => [0, 1, 2].map((id) => [...ids, id]));
    const narrow = (context: readonly number[]): number[] =>
      distribution(context).map((logprob, id) => (id < 3 ? logprob : -50));
    const executor = new FakeExecutor({ numBlocks: 80, vocabSize: VOCAB, distribution: narrow });
    const engine = new StepEngine(executor, {
      maxNumBatchedTokens: 16,
      maxNumSeqs: 10,
      contextLength: 60,
    });
    const totalOf = (ids: readonly number[]): number =>
      ids.reduce((sum, id, at) => sum + (narrow([4, ...ids.slice(0, at)])[id] ?? 0), 0);
    const [best] = allOf(2).toSorted((some, other) => totalOf(other) - totalOf(some));
    const request = sequenceRequest([4], { numBeams: 9, maxTokens: 2 });
    expect((await runBeams(engine, request))[0]?.tokenIds).toEqual(best);
    await engine.close();
  });

  it('prefers longer replies with a larger length penalty', async () => {
    let numLonger = 0;
    for (const seed of range(60)) {
      const lengths: number[] = [];
      for (const lengthPenalty of [-2, 2]) {
        const { engine } = engineOf();
        const request = sequenceRequest([seed % VOCAB, 1 + (seed % 5), seed % 7], {
          numBeams: 4,
          lengthPenalty,
          maxTokens: 10,
          stopTokenIds: [2],
        });
        lengths.push((await runBeams(engine, request))[0]?.tokenIds.length ?? 0);
        await engine.close();
      }
      const [short = 0, long = 0] = lengths;
      expect(long).toBeGreaterThanOrEqual(short);
      numLonger += long > short ? 1 : 0;
    }
    expect(numLonger).toBeGreaterThan(5);
  });

  it('computes the prompt once, and copies only the blocks that beams share and write', async () => {
    const { executor, engine } = engineOf();
    const request = sequenceRequest([1, 2, 3, 4, 5, 6], { numBeams: 3, maxTokens: 4 });
    await runBeams(engine, request);
    expect(executor.batches.map(({ tokenIds }) => tokenIds.length)).toEqual([6, 3, 3, 3]);
    // The prompt's second block is half full: two of three beams copy it, the last writes into the original.
    expect(executor.batches[1]?.copies?.sources.length).toBe(2);
    await engine.close();
  });

  it('gives every block back when it is aborted, at whatever step', async () => {
    for (let at = 0; at <= 8; at += 1) {
      for (const isUnderWay of [false, true]) {
        const { executor, engine } = engineOf({ isManual: true });
        const request = sequenceRequest(
          range(20).map((id) => id % VOCAB),
          {
            numBeams: 4,
            numSamples: 2,
            maxTokens: 30,
          },
        );
        const running = runBeams(engine, request);
        for (let step = 0; step < at; step += 1) {
          await new Promise((resolve) => setImmediate(resolve));
          executor.releaseStep();
        }
        if (isUnderWay) await new Promise((resolve) => setImmediate(resolve));
        engine.abort(request.seqId, 1); // No reply of a search can be ended alone.
        engine.abort(request.seqId);
        await new Promise((resolve) => setImmediate(resolve));
        executor.releaseStep();
        expect(await running).toEqual([
          { tokenIds: [], reason: 'abort' },
          { tokenIds: [], reason: 'abort' },
        ]);
        await engine.close();
        expect(engine.stats().kvBlocks.used).toBe(0);
      }
    }
  });

  it('ends with the engine when a step fails', async () => {
    const { executor, engine } = engineOf();
    const running = runBeams(engine, sequenceRequest([1, 2], { numBeams: 3, numSamples: 2 }));
    await new Promise((resolve) => setImmediate(resolve));
    executor.nextOutcome = { error: new Error('broken') };
    expect((await running).map(({ reason }) => reason)).toEqual(['error', 'error']);
    await engine.close();
  });

  it.each([
    ['none', { numBeams: 0 }, 'numBeams'],
    ['more beams than run at once', { numBeams: 11 }, 'numBeams'],
    ['more replies than beams', { numBeams: 2, numSamples: 3 }, 'numSamples'],
    ['a reply that was begun', { numBeams: 2, outputTokenIds: [1] }, 'numBeams'],
    ['a length penalty that is none', { numBeams: 2, lengthPenalty: NaN }, 'lengthPenalty'],
    [
      'sampling',
      { numBeams: 2, sampling: { temperature: 1, topP: 1, topK: 0, seed: 1 } },
      'sampling',
    ],
    [
      'logprobs of its own',
      { numBeams: 2, sampling: { temperature: 0, topP: 1, topK: 0, seed: 1, logprobs: 2 } },
      'sampling',
    ],
  ])('refuses %s', async (_name, more, param) => {
    const { engine } = engineOf();
    const request = sequenceRequest([1], { ...more });
    expect(() => engine.submit(request, silent)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', param }),
    );
    await engine.close();
  });

  it('refuses more next tokens than a step can tell of', async () => {
    const executor = new FakeExecutor({ numBlocks: 200, vocabSize: 30 });
    const engine = new StepEngine(executor, {
      maxNumBatchedTokens: 30,
      maxNumSeqs: 30,
      contextLength: 60,
    });
    const request = sequenceRequest([1], { numBeams: 10, stopTokenIds: range(11) });
    expect(() => engine.submit(request, silent)).toThrow(
      expect.objectContaining({ param: 'numBeams' }),
    );
    await engine.close();
  });

  it('begins anew when it loses its blocks, and finds the same', async () => {
    const { executor, engine } = engineOf({ numBlocks: 30 });
    const search = sequenceRequest(range(8), {
      numBeams: 4,
      numSamples: 4,
      maxTokens: 16,
      priority: 9,
      cacheScope: null,
    });
    const others = range(5).map((id) => sequenceRequest([id], { maxTokens: 40, priority: 1 }));
    const [found, ...rest] = await Promise.all(
      [search, ...others].map((each) => runMany(engine, each)),
    );
    expect(found).toEqual(await expectedReplies(search));
    expect(rest).toEqual(others.map((each) => [greedyReply(each)]));
    const numBegun = executor.batches.reduce(
      (sum, { positions }) => sum + positions.filter((position) => position === 0).length,
      0,
    );
    expect(engine.stats().numPreemptions).toBeGreaterThan(0);
    expect(numBegun).toBeGreaterThan(4);
    await engine.close();
    expect(engine.stats().kvBlocks.used).toBe(0);
  });

  it('refuses beams that could never stand side by side', async () => {
    const { engine } = engineOf({ numBlocks: 12 });
    const request = sequenceRequest(range(8), { numBeams: 4, maxTokens: 8 });
    expect(() => engine.submit(request, silent)).toThrow(
      expect.objectContaining({ code: 'CONTEXT_LENGTH_EXCEEDED' }),
    );
    await engine.close();
  });
});

/** A search, or a sequence beside it. */
async function runMany(engine: StepEngine, request: SequenceRequest): Promise<Reply[]> {
  if (request.numBeams !== undefined) return runBeams(engine, request);
  const { tokens, finish } = await runSequence(engine, request);
  return [{ tokenIds: tokens, reason: finish.reason }];
}
