import fc from 'fast-check';
import { summariesDue } from '../../../conversation/summary-plan.ts';
import type { DueSummary, SummaryRange, TailTurn } from '../../../conversation/summary-plan.ts';
import { turnIdOf } from '../../helpers/prompt-turns.ts';

const SETTINGS = { windowTokens: 200, span: 2, fanOut: 3 };

function tailOf(costs: readonly number[], from = 0): TailTurn[] {
  return costs.map((cost, at) => {
    const n = from + at;
    return {
      turnId: turnIdOf(n),
      parentTurnId: n === 0 ? null : turnIdOf(n - 1),
      role: n % 2 === 0 ? 'user' : 'assistant',
      cost,
    };
  });
}

/** The highest summary that ends at the last one's end, and so on up to the root: what the store's cover gives. */
function coverOf(made: readonly DueSummary[]): SummaryRange[] {
  const cover: SummaryRange[] = [];
  let end = made.at(-1)?.lastTurnId ?? null;
  while (end !== null) {
    const ending = made.filter(({ lastTurnId }) => lastTurnId === end);
    const [highest] = ending.toSorted((one, other) => other.level - one.level);
    if (highest === undefined) throw new Error(`nothing ends at ${end}`);
    cover.unshift(highest);
    end = highest.parentTurnId;
  }
  return cover;
}

function makeAll(tail: readonly TailTurn[], limit: number): DueSummary[] {
  const made: DueSummary[] = [];
  for (;;) {
    const told = made.at(-1)?.lastTurnId;
    const rest = tail.slice(1 + tail.findIndex(({ turnId }) => turnId === told));
    const due = summariesDue(coverOf(made), rest, SETTINGS, limit);
    if (due.length === 0) return made;
    made.push(...due);
  }
}

const costs = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 120 });

describe('summariesDue', () => {
  it('leaves a conversation alone that its window holds', () => {
    expect(summariesDue([], tailOf([50, 50, 50, 50]), SETTINGS, 10)).toEqual([]);
    // One exchange more than it holds, but a leaf would leave less than half a window.
    expect(summariesDue([], tailOf([50, 51, 50, 50]), SETTINGS, 10)).toEqual([]);
  });

  it('makes leaves of whole spans from the root on, and of a full group one node above', () => {
    const due = summariesDue([], tailOf(Array.from({ length: 40 }, () => 20)), SETTINGS, 4);
    expect(
      due.slice(0, 4).map(({ level, firstTurnId, lastTurnId }) => [level, firstTurnId, lastTurnId]),
    ).toEqual([
      [0, turnIdOf(0), turnIdOf(3)],
      [0, turnIdOf(4), turnIdOf(7)],
      [0, turnIdOf(8), turnIdOf(11)],
      [1, turnIdOf(0), turnIdOf(11)],
    ]);
    expect(due[3]?.childLastTurnIds).toEqual([turnIdOf(3), turnIdOf(7), turnIdOf(11)]);
  });

  it('covers the branch without gap or overlap, in few nodes, and leaves half a window word for word', () => {
    fc.assert(
      fc.property(costs, fc.integer({ min: 1, max: 20 }), (all, limit) => {
        const tail = tailOf(all);
        const made = makeAll(tail, limit);
        const cover = coverOf(made);
        for (const [at, each] of cover.entries())
          expect(each.parentTurnId).toBe(cover[at - 1]?.lastTurnId ?? null);
        const told = cover.at(-1)?.lastTurnId;
        const rest = tail.slice(1 + tail.findIndex(({ turnId }) => turnId === told));
        const left = rest.reduce((sum, { cost }) => sum + cost, 0);
        if (made.length > 0) expect(left).toBeGreaterThanOrEqual(SETTINGS.windowTokens / 2);
        expect(left).toBeLessThanOrEqual(SETTINGS.windowTokens + SETTINGS.span * 2 * 40);
        const most =
          (SETTINGS.fanOut - 1) *
          (1 + Math.ceil(Math.log(1 + all.length) / Math.log(SETTINGS.fanOut)));
        expect(cover.length).toBeLessThanOrEqual(most);
      }),
    );
  });

  it('makes the same, whatever the size of the pieces', () => {
    fc.assert(
      fc.property(costs, fc.integer({ min: 1, max: 20 }), (all, limit) => {
        const tail = tailOf(all);
        const keys = (made: readonly DueSummary[]): string[] =>
          made.map(({ level, lastTurnId }) => `${level} ${lastTurnId}`);
        // A piece that ends may leave less than a window: what is behind it is due later.
        const [small, whole] = [keys(makeAll(tail, limit)), keys(makeAll(tail, 1000))];
        expect(whole.slice(0, small.length)).toEqual(small);
      }),
    );
  });

  // docs/prompts.md has the numbers; summaries are as long as they may be.
  it.each([110, 180, 300])(
    'makes turn 200 cost what turn 20 did, with exchanges of %i tokens',
    (cost) => {
      const settings = { windowTokens: 1536, span: 4, fanOut: 4 };
      const tail = tailOf(Array.from({ length: 400 }, () => cost / 2));
      const made: DueSummary[] = [];
      const promptTokens = Array.from({ length: 200 }, (_, at) => {
        const restAt = (length: number): TailTurn[] => {
          const told = made.at(-1)?.lastTurnId;
          return tail.slice(1 + tail.findIndex(({ turnId }) => turnId === told), length);
        };
        const asked = restAt(2 * at + 1).length * (cost / 2) + coverOf(made).length * 64;
        for (;;) {
          const due = summariesDue(coverOf(made), restAt(2 * at + 2), settings, 16);
          if (due.length === 0) return asked;
          made.push(...due);
        }
      });
      expect((promptTokens[199] ?? Infinity) / (promptTokens[19] ?? 0)).toBeLessThanOrEqual(1.3);
      expect(Math.max(...promptTokens)).toBeLessThan(2 * 1536);
    },
  );
});
