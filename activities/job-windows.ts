// Walking through rows in windows of a bounded size, so that a statement takes milliseconds whether all rows have work left
// or none has. Knows neither the rows nor the work.
import type { JobWindow } from '../postgres/job-facts.ts';
import type { Beat } from './batch-jobs.ts';

/** Rows of one look. */
export const WINDOW_ROWS = 5000;

/** Items with work left. @param look at the rows behind a place */
export async function countAll(
  look: (after: string | null) => Promise<JobWindow>,
  beat: Beat,
): Promise<number> {
  let total = 0;
  for (let after: string | null = null; ;) {
    const { count, through } = await look(after);
    total += count;
    if (through === null) return total;
    beat(through);
    after = through;
  }
}

/** The first window behind `from` with work left; null when there is none. */
export async function findNext(
  look: (after: string | null) => Promise<JobWindow>,
  from: string | null,
  beat: Beat,
): Promise<{ through: string; count: number } | null> {
  for (let after = from; ;) {
    const { count, through } = await look(after);
    if (through === null) return null;
    if (count > 0) return { through, count };
    beat(through);
    after = through;
  }
}
