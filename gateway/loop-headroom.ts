// How busy this process's event loop is, for work that can wait: it is let in at the pace that leaves room for live text.
import type { EventLoopUtilization } from 'node:perf_hooks';

/** Of the time between two that are let in, the loop works at most this share. Above it, waiting lines grow fast. */
const MAX_BUSY_SHARE = 0.75;
/** Who waits is let in after this long, however busy the loop is: a hundred a second, at worst. */
const MAX_WAIT_MS = 10;
const LOOK_EVERY_MS = 1;

export interface LoopClock {
  /** Milliseconds that the loop has worked, and has not, since `before`. */
  since(before: EventLoopUtilization): { readonly active: number; readonly idle: number };
  now(): EventLoopUtilization;
}

const EVENT_LOOP: LoopClock = {
  since: (before) => performance.eventLoopUtilization(before),
  now: () => performance.eventLoopUtilization(),
};

export class LoopHeadroom {
  readonly #clock: LoopClock;
  #last: EventLoopUtilization;
  #queue: Promise<void> = Promise.resolve();

  constructor(clock: LoopClock = EVENT_LOOP) {
    this.#clock = clock;
    this.#last = clock.now();
  }

  /** Resolves when the loop has idled enough since the last one who was let in, for one caller at a time. */
  wait(): Promise<void> {
    this.#queue = this.#queue.then(() => this.#idle());
    return this.#queue;
  }

  async #idle(): Promise<void> {
    const enterAt = performance.now() + MAX_WAIT_MS;
    for (;;) {
      const { active, idle } = this.#clock.since(this.#last);
      if (active <= MAX_BUSY_SHARE * (active + idle) || performance.now() >= enterAt) break;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    this.#last = this.#clock.now();
  }
}
