import fc from 'fast-check';
import { StepEngine } from '../../../inference/engine.ts';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import { expectedTokens, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const range = (count: number): number[] => Array.from({ length: count }, (_, id) => id);
const SAMPLED = { temperature: 1, topP: 1, topK: 0, seed: 5 };

function engineOf(numBlocks: number, more: { numSwapBlocks?: number; maxNumSeqs?: number } = {}) {
  const { numSwapBlocks = 0, maxNumSeqs = 6 } = more;
  const executor = new FakeExecutor({ numBlocks, numSwapBlocks });
  const engine = new StepEngine(executor, {
    maxNumBatchedTokens: 24,
    maxNumSeqs,
    contextLength: 200,
    maxDraftTokens: 4,
    onStep: () => engine.checkIntegrity(),
  });
  return { executor, engine };
}

/** Submits; resolves with the tokens of each reply once all have ended. */
function runReplies(engine: StepEngine, request: SequenceRequest): Promise<number[][]> {
  const replies = range(request.numSamples ?? 1).map((): number[] => []);
  const ended = new Set<number>();
  return new Promise((resolve, reject) => {
    engine.submit(request, {
      onTokens: (ids, _logprobs, sampleIndex = 0) => replies[sampleIndex]?.push(...ids),
      onFinish: (_finish, _cached, sampleIndex = 0) => {
        if (ended.has(sampleIndex)) reject(new Error(`reply ${sampleIndex} ended twice`));
        ended.add(sampleIndex);
        if (ended.size === replies.length) resolve(replies);
      },
    });
  });
}

const expected = ({ promptTokenIds, maxTokens, numSamples = 1, sampling }: SequenceRequest) =>
  range(numSamples).map((index) =>
    expectedTokens(promptTokenIds, maxTokens, { ...sampling, seed: sampling.seed + index }),
  );

describe('several replies to one prompt', () => {
  it('compute the prompt once, share its blocks and copy only the one they all write to', async () => {
    const { executor, engine } = engineOf(64);
    const request = sequenceRequest(range(10), {
      numSamples: 4,
      maxTokens: 2,
      sampling: SAMPLED,
    });
    expect(await runReplies(engine, request)).toEqual(expected(request));
    expect(executor.batches.map(({ tokenIds }) => tokenIds.length)).toEqual([10, 4]);
    // Three copies of the partial block: the last of four writes into the original.
    expect(executor.batches.map(({ copies }) => copies?.sources.length ?? 0)).toEqual([0, 3]);
    await engine.close();
  });

  it('copy nothing when the prompt ends with a block', async () => {
    const { executor, engine } = engineOf(64);
    const request = sequenceRequest(range(12), { numSamples: 3, maxTokens: 5, sampling: SAMPLED });
    expect(await runReplies(engine, request)).toEqual(expected(request));
    expect(executor.batches.every(({ copies }) => copies === undefined)).toBe(true);
    await engine.close();
  });

  it('all end at an abort, and give every block back', async () => {
    for (let at = 1; at <= 8; at += 1) {
      const { engine } = engineOf(64);
      const request = sequenceRequest(range(10), {
        numSamples: 3,
        maxTokens: 50,
        sampling: SAMPLED,
      });
      let numTokens = 0;
      let late = false;
      const ended = new Set<number>();
      const reasons = await new Promise<string[]>((resolve) => {
        const found: string[] = [];
        engine.submit(request, {
          onTokens: (_ids, _logprobs, sampleIndex = 0) => {
            late ||= ended.has(sampleIndex);
            numTokens += 1;
            if (numTokens === at) engine.abort(request.seqId);
          },
          onFinish: ({ reason }, _cached, sampleIndex = 0) => {
            ended.add(sampleIndex);
            found.push(reason);
            setImmediate(() => resolve(found));
          },
        });
      });
      expect(new Set(reasons)).toEqual(new Set(['abort']));
      expect(late).toBe(false);
      await engine.close();
      expect(engine.stats().kvBlocks.used).toBe(0);
    }
  });

  it('can be ended one by one, and the others say what they would have said', async () => {
    for (let aborted = 0; aborted < 3; aborted += 1) {
      for (let at = 1; at <= 6; at += 1) {
        const { engine } = engineOf(64);
        const request = sequenceRequest(range(10), {
          numSamples: 3,
          maxTokens: 9,
          sampling: SAMPLED,
        });
        const replies = range(3).map((): number[] => []);
        const reasons: string[] = [];
        await new Promise<void>((resolve) => {
          engine.submit(request, {
            onTokens: (ids, _logprobs, sampleIndex = 0) => {
              replies[sampleIndex]?.push(...ids);
              if (sampleIndex === aborted && replies[aborted]?.length === at)
                engine.abort(request.seqId, aborted);
            },
            onFinish: ({ reason }, _cached, sampleIndex = 0) => {
              reasons[sampleIndex] = reason;
              if (range(3).every((index) => reasons[index] !== undefined)) resolve();
            },
          });
        });
        const whole = expected(request);
        expect(replies).toEqual(
          whole.map((ids, index) => (index === aborted ? ids.slice(0, at) : ids)),
        );
        expect(reasons).toEqual(range(3).map((index) => (index === aborted ? 'abort' : 'length')));
        await engine.close();
        expect(engine.stats().kvBlocks.used).toBe(0);
      }
    }
  });

  it('each end when their prompt is aborted before they began', async () => {
    const { engine } = engineOf(64);
    const request = sequenceRequest(range(60), { numSamples: 3, sampling: SAMPLED });
    const ended: number[] = [];
    engine.submit(request, {
      onTokens: () => undefined,
      onFinish: ({ reason }, _cached, sampleIndex = 0) => {
        expect(reason).toBe('abort');
        ended.push(sampleIndex);
      },
    });
    await new Promise((resolve) => setImmediate(resolve));
    engine.abort(request.seqId);
    await engine.close();
    expect(ended).toEqual([0, 1, 2]);
  });

  it('are refused when they could never begin', () => {
    const { engine } = engineOf(4);
    expect(() =>
      engine.submit(sequenceRequest(range(12), { numSamples: 3, maxTokens: 1 }), {
        onTokens: () => undefined,
        onFinish: () => undefined,
      }),
    ).toThrow(expect.objectContaining({ code: 'CONTEXT_LENGTH_EXCEEDED' }));
  });
});

describe('forks and swapping', () => {
  it('change no token, whatever is shared, copied, swapped out, in, or dropped', async () => {
    const one = fc.record({
      length: fc.integer({ min: 1, max: 24 }),
      stem: fc.nat(2),
      maxTokens: fc.integer({ min: 1, max: 14 }),
      numSamples: fc.integer({ min: 1, max: 4 }),
      temperature: fc.constantFrom(0, 1),
      priority: fc.integer({ min: 1, max: 5 }),
    });
    let numSwapped = 0;
    let numPreempted = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 13, max: 30 }),
        fc.constantFrom(0, 2, 40),
        async (all, numBlocks, numSwapBlocks) => {
          const { executor, engine } = engineOf(numBlocks, { numSwapBlocks });
          const requests = all.map(
            ({ length, stem, maxTokens, numSamples, temperature, priority }) =>
              sequenceRequest(
                range(length).map((id) => id + stem * 100),
                { maxTokens, numSamples, priority, sampling: { ...SAMPLED, temperature } },
              ),
          );
          const replies = await Promise.all(requests.map((each) => runReplies(engine, each)));
          expect(replies).toEqual(requests.map(expected));
          numPreempted += engine.stats().numPreemptions;
          numSwapped += executor.batches.reduce(
            (sum, { copies }) =>
              sum + (copies?.targets.filter((target) => target >= numBlocks).length ?? 0),
            0,
          );
          await engine.close();
          expect(engine.stats()).toMatchObject({ kvBlocks: { used: 0 }, numSwappedBlocks: 0 });
        },
      ),
      { numRuns: 300 },
    );
    // All of it was there to be tested.
    expect(numPreempted).toBeGreaterThan(50);
    expect(numSwapped).toBeGreaterThan(50);
  });
});
