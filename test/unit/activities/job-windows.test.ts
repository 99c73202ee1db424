import fc from 'fast-check';
import { countAll, findNext } from '../../../activities/job-windows.ts';
import type { JobWindow } from '../../../postgres/job-facts.ts';

/** Rows by index, of which some have work left; as the statements look at them. */
function lookAt(rows: readonly boolean[], maxRows: number, limit: number) {
  return async (after: string | null): Promise<JobWindow> => {
    const from = after === null ? 0 : Number(after) + 1;
    const scanned = rows
      .slice(from, from + maxRows)
      .map((isOpen, at) => ({ isOpen, at: from + at }));
    const open = scanned.filter(({ isOpen }) => isOpen).slice(0, limit);
    const last = open.length === limit ? open.at(-1) : scanned.at(-1);
    return { count: open.length, through: last === undefined ? null : String(last.at) };
  };
}

const tables = fc.record({
  rows: fc.array(fc.boolean(), { maxLength: 60 }),
  maxRows: fc.integer({ min: 1, max: 12 }),
  limit: fc.integer({ min: 1, max: 12 }),
});

describe('walking in windows', () => {
  it('counts every item with work left once', () =>
    fc.assert(
      fc.asyncProperty(tables, async ({ rows, maxRows }) => {
        const total = await countAll(lookAt(rows, maxRows, maxRows), () => undefined);
        expect(total).toBe(rows.filter(Boolean).length);
      }),
    ));

  it('finds ranges that follow each other, hold every item once, and are never empty', () =>
    fc.assert(
      fc.asyncProperty(tables, async ({ rows, maxRows, limit }) => {
        const look = lookAt(rows, maxRows, limit);
        let total = 0;
        let after: string | null = null;
        for (;;) {
          const found = await findNext(look, after, () => undefined);
          if (found === null) break;
          const from = after === null ? 0 : Number(after) + 1;
          const items = rows.slice(from, Number(found.through) + 1).filter(Boolean).length;
          expect(found.count).toBe(items);
          expect(items).toBeGreaterThan(0);
          expect(items).toBeLessThanOrEqual(limit);
          total += items;
          after = found.through;
        }
        expect(total).toBe(rows.filter(Boolean).length);
      }),
    ));

  it('says that it is alive on its way through rows without work', async () => {
    let beats = 0;
    const rows = Array.from({ length: 10 }, (_, index) => index === 9);
    await findNext(lookAt(rows, 3, 3), null, () => void (beats += 1));
    expect(beats).toBe(3);
  });
});
