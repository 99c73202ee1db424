import fc from 'fast-check';
import { StepEngine } from '../../../inference/engine.ts';
import { expectedTokens, runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';
import { followTimedExecutors, TimedExecutor } from '../../helpers/timed-executor.ts';

let restore = (): void => undefined;
beforeAll(() => (restore = followTimedExecutors()));
afterAll(() => restore());

interface Limits {
  readonly numBlocks?: number;
  readonly numDraftBlocks?: number;
  readonly vocabSize?: number;
  readonly draftContext?: number;
  readonly isWrong?: (position: number) => boolean;
  readonly draftShare?: () => number;
}

function engineOf({
  numBlocks = 60,
  numDraftBlocks = 60,
  vocabSize = 1000,
  draftContext = 1000,
  isWrong = () => false,
  draftShare,
}: Limits = {}) {
  const executor = new FakeExecutor({
    numBlocks,
    vocabSize,
    draft: { numBlocks: numDraftBlocks, contextLength: draftContext, isWrong },
  });
  const engine = new StepEngine(new TimedExecutor(executor, draftShare), {
    maxNumBatchedTokens: 24,
    maxNumSeqs: 6,
    contextLength: 200,
    maxDraftTokens: 8,
    onStep: () => engine.checkIntegrity(),
    onListenerError: (error) => {
      throw error;
    },
  });
  return { executor, engine };
}

describe('an engine with a draft model', () => {
  it('gives the tokens of plain decoding, greedy and sampled, whatever is guessed, looked up, preempted or cut short', async () => {
    const one = fc.record({
      prompt: fc.array(fc.nat(3), { minLength: 1, maxLength: 30 }),
      maxTokens: fc.integer({ min: 1, max: 20 }),
      temperature: fc.constantFrom(0, 1),
      seed: fc.nat(5),
      presencePenalty: fc.constantFrom(0, 1),
      numSamples: fc.constantFrom(1, 1, 1, 2),
    });
    const tally = { guessed: 0, wrong: 0, lookedUp: 0, preempted: 0, cached: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 1, maxLength: 6 }),
        fc.record({
          numBlocks: fc.integer({ min: 13, max: 60 }),
          numDraftBlocks: fc.integer({ min: 1, max: 60 }),
          draftContext: fc.constantFrom(10, 1000),
          vocabSize: fc.constantFrom(4, 1000),
        }),
        fc.integer({ min: 2, max: 9 }),
        async (all, limits, wrongEvery) => {
          const isWrong = (position: number): boolean => position % wrongEvery === 0;
          const { engine, executor } = engineOf({ ...limits, isWrong });
          const ended = await Promise.all(
            all.map(({ prompt, maxTokens, numSamples, ...own }) => {
              const sampling = { ...own, topP: 1, topK: 0 };
              const request = sequenceRequest(prompt, { maxTokens, numSamples, sampling });
              const replies: number[][] = [[], []];
              return new Promise<number[][]>((resolve) => {
                let numEnded = 0;
                engine.submit(request, {
                  onTokens: (ids, _logprobs, index = 0) => void replies[index]?.push(...ids),
                  onFinish: () => {
                    numEnded += 1;
                    if (numEnded === numSamples) resolve(replies.slice(0, numSamples));
                  },
                });
              });
            }),
          );
          expect(ended).toEqual(
            all.map(({ prompt, maxTokens, numSamples, ...own }) =>
              Array.from({ length: numSamples }, (_, index) => {
                const sampling = { ...own, seed: own.seed + index, topP: 1, topK: 0 };
                return expectedTokens(prompt, maxTokens, sampling, limits.vocabSize);
              }),
            ),
          );
          const { speculation, numPreemptions } = engine.stats();
          const { draftModel } = speculation;
          tally.guessed += draftModel?.acceptedTokens ?? 0;
          tally.wrong += (draftModel?.proposedTokens ?? 0) - (draftModel?.acceptedTokens ?? 0);
          tally.lookedUp += speculation.acceptedTokens - (draftModel?.acceptedTokens ?? 0);
          tally.preempted += numPreemptions;
          tally.cached += draftModel?.kvBlocks.cached ?? 0;
          expect(draftModel?.kvBlocks.used).toBe(0);
          expect(executor.draft?.batches.every(({ numLogprobs }) => !numLogprobs)).toBe(true);
          await engine.close();
        },
      ),
      { numRuns: 300 },
    );
    // All of it was there to be tested.
    expect(Object.entries(tally).filter(([, count]) => count < 20)).toEqual([]);
  });

  it('takes far fewer steps than tokens when the draft model is right, and no more than tokens when it never is', async () => {
    for (const [isWrong, most] of [
      [() => false, 40],
      [() => true, 100],
    ] as const) {
      const { executor, engine } = engineOf({ isWrong });
      const request = sequenceRequest([1, 2, 3], { maxTokens: 100 });
      const { tokens } = await runSequence(engine, request);
      expect(tokens).toEqual(expectedTokens([1, 2, 3], 100));
      expect(executor.batches.length).toBeLessThanOrEqual(most);
      await engine.close();
    }
  });

  it('stops asking a draft model that is always wrong', async () => {
    const { executor, engine } = engineOf({ isWrong: () => true });
    await runSequence(engine, sequenceRequest([1, 2, 3], { maxTokens: 190 }));
    expect(executor.draft?.batches.length).toBeLessThan(executor.batches.length / 2);
    await engine.close();
  });

  it('asks a draft model that was too dear again in time, and then as often as it is worth it', async () => {
    let share = 2;
    const { executor, engine } = engineOf({ draftShare: () => share });
    const numAsked = async (numTimes: number): Promise<number> => {
      const before = executor.draft?.batches.length ?? 0;
      for (let time = 0; time < numTimes; time += 1)
        await runSequence(engine, sequenceRequest([time, 2, 3], { maxTokens: 190 }));
      return (executor.draft?.batches.length ?? 0) - before;
    };
    await numAsked(1);
    const whenDear = await numAsked(20);
    expect(whenDear).toBeGreaterThan(0);
    expect(whenDear).toBeLessThan(40);
    share = 0.1;
    await numAsked(40);
    const whenCheap = await numAsked(5);
    expect(whenCheap).toBeGreaterThan(100);
    await engine.close();
  });

  it('looks up where that is right more often, and asks the draft model elsewhere', async () => {
    const { engine } = engineOf({ vocabSize: 1, isWrong: () => true });
    await runSequence(engine, sequenceRequest([0], { maxTokens: 100 }));
    const { acceptedTokens, draftModel } = engine.stats().speculation;
    expect(acceptedTokens - (draftModel?.acceptedTokens ?? 0)).toBeGreaterThan(50);
    await engine.close();
  });

  it('leaves the draft model alone without speculation', async () => {
    const executor = new FakeExecutor({ numBlocks: 60, draft: { numBlocks: 60 } });
    const engine = new StepEngine(new TimedExecutor(executor), {
      maxNumBatchedTokens: 24,
      maxNumSeqs: 6,
      contextLength: 200,
    });
    await runSequence(engine, sequenceRequest([1, 2, 3]));
    expect(executor.draft?.batches).toEqual([]);
    expect(engine.stats().speculation.draftModel).toBeUndefined();
    await engine.close();
  });

  it('ends every sequence with the error of a draft model that breaks, once', async () => {
    const { executor, engine } = engineOf();
    const error = new Error('the draft model is gone');
    if (executor.draft !== null) executor.draft.nextError = error;
    const ends = await Promise.all(
      [1, 2].map((id) => runSequence(engine, sequenceRequest([id], { maxTokens: 50 }))),
    );
    expect(ends.map(({ finish }) => finish)).toEqual([
      { reason: 'error', error },
      { reason: 'error', error },
    ]);
    expect(() => engine.submit(sequenceRequest([1]), noListener)).toThrow(
      expect.objectContaining({ code: 'GENERATION_FAILED' }),
    );
    await engine.close();
    expect(executor.numCloses).toBe(1);
  });
});

const noListener = { onTokens: () => undefined, onFinish: () => undefined };
