// Whether an engine that has work still makes steps: a stalled one must be restarted, not trusted.
import type { Engine } from '../contracts/engine.ts';

/** The longest step, a full budget of prompt tokens on a loaded machine, stays far below this. */
const STALL_MS = 30_000;

/** A check for /healthz; `now` is the clock in ms. */
export function createEngineHealth(
  engine: Pick<Engine, 'stats'>,
  now: () => number = Date.now,
): () => boolean {
  let numSteps = -1;
  let since = now();
  return () => {
    const stats = engine.stats();
    if (stats.numSteps !== numSteps || stats.running + stats.waiting + stats.preempted === 0) {
      numSteps = stats.numSteps;
      since = now();
    }
    return now() - since < STALL_MS;
  };
}
