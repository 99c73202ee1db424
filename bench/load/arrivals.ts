// When turns arrive. Open: at their own times, whatever became of those before (no coordinated omission: a turn that is sent
// late because this process or the service is busy is measured from when it was due). Closed: when one before it has ended.
import { randomNumbers } from '../random-numbers.ts';

/** Times in ms from the start: Poisson arrivals by a seed, or evenly spaced. */
export function openArrivals(
  perSecond: number,
  seconds: number,
  spacing: 'poisson' | 'even',
  seed: number,
): number[] {
  const random = randomNumbers(seed);
  const times: number[] = [];
  for (let at = 0; ;) {
    at += ((spacing === 'even' ? 1 : -Math.log(1 - random())) / perSecond) * 1000;
    if (at >= seconds * 1000) return times;
    times.push(at);
  }
}

/** Starts `run(index, dueAt)` at each time; resolves when all have ended. @param times ms from now, rising */
export async function runOpen(
  times: readonly number[],
  run: (index: number, dueAt: number) => Promise<void>,
): Promise<void> {
  const begun = performance.now();
  const all: Promise<void>[] = [];
  for (const [index, time] of times.entries()) {
    const wait = begun + time - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    all.push(run(index, begun + time));
  }
  await Promise.all(all);
}

/** `clients` at a time for `seconds`; the last ones are waited for. */
export async function runClosed(
  clients: number,
  seconds: number,
  run: (index: number, dueAt: number) => Promise<void>,
): Promise<void> {
  const end = performance.now() + seconds * 1000;
  let next = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < end) await run(next++, performance.now());
    }),
  );
}
