// A sequence that is held back gives its blocks and its seat to others and goes on later as if nothing had been.
import fc from 'fast-check';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import { StepEngine } from '../../../inference/engine.ts';
import { expectedTokens, runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const OPTIONS = { maxNumBatchedTokens: 16, maxNumSeqs: 4, contextLength: 256 };

function engineOf(numBlocks = 64, maxNumSeqs = 4): StepEngine {
  const executor = new FakeExecutor({ numBlocks });
  return new StepEngine(executor, { ...OPTIONS, maxNumSeqs });
}

const expected = ({ promptTokenIds, maxTokens }: SequenceRequest): number[] =>
  expectedTokens(promptTokenIds, maxTokens);

describe('a sequence that is held back', () => {
  it('has no block and no seat, lets others run in its place, and goes on with the tokens it would have had', async () => {
    const engine = engineOf(64, 1);
    const request = sequenceRequest([1, 2, 3], { maxTokens: 40 });
    const running = runSequence(engine, request, (count) => {
      if (count === 10) engine.hold(request.seqId, true);
    });
    await waitFor('it is held', () => engine.stats().held === 1);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, kvBlocks: { used: 0 } });
    const other = sequenceRequest([4, 5], { maxTokens: 20 });
    expect((await runSequence(engine, other)).tokens).toEqual(expected(other));
    engine.hold(request.seqId, false);
    expect((await running).tokens).toEqual(expected(request));
    await engine.close();
  });

  it('ends at once when it is aborted, and does not keep an engine from closing', async () => {
    const engine = engineOf();
    const [one, other] = [1, 2].map((first) => sequenceRequest([first], { maxTokens: 100 }));
    if (one === undefined || other === undefined) throw new Error('no requests');
    const ends = [one, other].map((request) =>
      runSequence(engine, request, (count) => {
        if (count === 3) engine.hold(request.seqId, true);
      }),
    );
    await waitFor('both are held', () => engine.stats().held === 2);
    engine.abort(one.seqId);
    expect((await ends[0])?.finish.reason).toBe('abort');
    expect(engine.stats().held).toBe(1);
    await engine.close();
    expect((await ends[1])?.finish.reason).toBe('abort');
  });

  it('gives the same tokens whenever it is held and let go, beside others that are short of blocks', async () => {
    const moment = fc.record({
      sequence: fc.nat(4),
      at: fc.integer({ min: 0, max: 30 }),
      isHeld: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(moment, { maxLength: 30 }), async (moments) => {
        const engine = engineOf(12);
        const requests = [1, 2, 3, 4, 5].map((first) =>
          sequenceRequest([first, 9, first, 7], { maxTokens: 30 }),
        );
        const act = (sequence: number, count: number): void => {
          for (const each of moments)
            if (each.sequence === sequence && each.at === count)
              engine.hold(requests[(sequence + 1) % 5]?.seqId ?? '', each.isHeld);
        };
        const ends = requests.map((request, index) =>
          runSequence(engine, request, (count) => act(index, count)),
        );
        const all = Promise.all(ends);
        let isDone = false;
        void all.finally(() => (isDone = true));
        while (!isDone) {
          await new Promise((resolve) => setImmediate(resolve));
          // Only when nothing else runs is a held one let go by force: else all might wait for a token that nobody makes.
          const { running, waiting, preempted } = engine.stats();
          if (running + waiting + preempted === 0)
            for (const { seqId } of requests) engine.hold(seqId, false);
        }
        for (const [index, { tokens }] of (await all).entries())
          expect(tokens).toEqual(expected(requests[index] ?? sequenceRequest([1])));
        engine.checkIntegrity();
        expect(engine.stats()).toMatchObject({ held: 0, kvBlocks: { used: 0 } });
        await engine.close();
      }),
      { numRuns: 60 },
    );
  });
});
