import fc from 'fast-check';
import { planDrafts } from '../../../inference/draft-plan.ts';

const STEP = {
  numRows: 1,
  numTokens: 1,
  model: { fixedMs: 5, rowMs: 1 },
  draft: { fixedMs: 0.5, rowMs: 0.1 },
};

describe('planDrafts', () => {
  it('gives a single sequence as many guesses as bring most tokens per millisecond', () => {
    const cost = fc.double({ min: 0.01, max: 10, noNaN: true });
    const estimate = fc.record({ fixedMs: cost, rowMs: cost });
    const rate = fc.double({ min: 0, max: 0.99, noNaN: true });
    fc.assert(
      fc.property(
        estimate,
        estimate,
        rate,
        fc.integer({ min: 1, max: 12 }),
        (model, draft, chance, room) => {
          const speedOf = (count: number): number => {
            let tokens = 1;
            for (let depth = 1; depth <= count; depth += 1) tokens += chance ** depth;
            const rowMs = draft.rowMs + model.rowMs;
            return tokens / (model.fixedMs + model.rowMs + count * (draft.fixedMs + rowMs));
          };
          const candidates = [{ rate: chance, room }];
          const [count = 0] = planDrafts(candidates, { ...STEP, model, draft });
          const best = Math.max(...Array.from({ length: room + 1 }, (_, each) => speedOf(each)));
          expect(speedOf(count)).toBeCloseTo(best, 9);
        },
      ),
    );
  });

  it('guesses less, then nothing, the fuller the batch is', () => {
    const counts = [1, 4, 16, 64].map((numSeqs) => {
      const candidates = Array.from({ length: numSeqs }, () => ({ rate: 0.8, room: 16 }));
      return planDrafts(candidates, { ...STEP, numRows: numSeqs, numTokens: numSeqs })[0] ?? 0;
    });
    expect(counts).toEqual([...counts].sort((one, other) => other - one));
    expect(counts[0]).toBeGreaterThan(2);
    expect(counts.at(-1)).toBe(0);
  });

  it('leaves out whom it guesses badly for', () => {
    const [good, bad] = [0.8, 0.05].map((rate) => ({ rate, room: 16 }));
    if (good === undefined || bad === undefined) throw new Error('there are two');
    const plan = { ...STEP, numRows: 3, numTokens: 3 };
    const [first = 0, second = 0, third] = planDrafts([good, good, bad], plan);
    expect([first > 0, second > 0, third]).toEqual([true, true, 0]);
  });

  it('guesses nothing when the draft model costs as much as the model', () => {
    const plan = { ...STEP, draft: STEP.model };
    expect(planDrafts([{ rate: 0.99, room: 16 }], plan)).toEqual([0]);
  });

  it('keeps to the room there is', () => {
    const candidates = [2, 0, 7].map((room) => ({ rate: 0.99, room }));
    expect(planDrafts(candidates, { ...STEP, numRows: 3, numTokens: 3 })).toEqual([2, 0, 7]);
  });
});
