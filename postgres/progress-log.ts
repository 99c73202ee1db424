// When a primary was how far: tells as of when a replica is that has applied the log up to a position. No clock but ours is
// involved, and an idle database is as fresh as its last look.
import type { TimedView } from './node-watch.ts';

/** Looks that follow each other faster say nothing new. */
const MIN_STEP_MS = 20;

export class ProgressLog {
  readonly #keptMs: number;
  /** In order of time, and thereby of position. */
  #seen: { at: number; lsn: number }[] = [];

  /** @param keptMs what is older is forgotten: a replica that far behind is not read anyway */
  constructor(keptMs: number) {
    this.#keptMs = keptMs;
  }

  /** A look at the primary: everything acknowledged before it began is at or before its position. */
  add({ askedAt: at, position: { lsn } }: TimedView): void {
    const last = this.#seen.at(-1);
    if (last !== undefined && at - last.at < MIN_STEP_MS) return;
    this.#seen.push({ at, lsn });
    const first = this.#seen.findIndex((each) => each.at >= at - this.#keptMs);
    if (first > 0) this.#seen = this.#seen.slice(first);
  }

  /** The newest time as of which everything acknowledged is at or before `lsn`; null when that is too long ago. */
  asOf(lsn: number): number | null {
    return this.#seen.findLast((each) => each.lsn <= lsn)?.at ?? null;
  }
}
