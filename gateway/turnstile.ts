// Lets a few at a time through, the others wait in the order they came: long replays, and readers that all come back at
// once, take turns, so that live text is never behind more than a few of them.

export interface TurnstileOptions {
  /** When nobody has passed for this long, all who wait pass beside those inside, who may hang. Default: never. */
  readonly patienceMs?: number;
  /** Who has waited for this long passes beside those inside: a store may be slow. Default: never. */
  readonly maxWaitMs?: number;
  /** Awaited before one who waits may take the place of one who left. Default: at once. */
  readonly pace?: () => Promise<void>;
}

export class Turnstile {
  readonly #patienceMs: number;
  readonly #maxWaitMs: number;
  readonly #pace: (() => Promise<void>) | undefined;
  /** Called with true when it is their turn, with false when they pass beside. */
  readonly #waiting = new Set<(isTheirTurn: boolean) => void>();
  #free: number;
  #patience: NodeJS.Timeout | undefined;

  /** @param width how many at a time */
  constructor(
    width: number,
    { patienceMs = Infinity, maxWaitMs = Infinity, pace }: TurnstileOptions = {},
  ) {
    this.#free = width;
    this.#patienceMs = patienceMs;
    this.#maxWaitMs = maxWaitMs;
    this.#pace = pace;
  }

  async pass<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else if (!(await this.#turn())) return work();
    try {
      return await work();
    } finally {
      void this.#handOn();
    }
  }

  /** False when patience or the bound of waiting ended first. */
  #turn(): Promise<boolean> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const enter = (isTheirTurn: boolean): void => {
        this.#waiting.delete(enter);
        clearTimeout(timer);
        resolve(isTheirTurn);
      };
      if (this.#maxWaitMs !== Infinity) timer = setTimeout(enter, this.#maxWaitMs, false);
      this.#waiting.add(enter);
      if (this.#waiting.size === 1) this.#beginPatience();
    });
  }

  async #handOn(): Promise<void> {
    if (this.#waiting.size > 0) await this.#pace?.();
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
      return;
    }
    next(true);
    this.#beginPatience();
  }

  #beginPatience(): void {
    clearTimeout(this.#patience);
    if (this.#waiting.size === 0 || this.#patienceMs === Infinity) return;
    this.#patience = setTimeout(() => {
      for (const each of [...this.#waiting]) each(false);
    }, this.#patienceMs);
  }
}
