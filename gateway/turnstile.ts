// Lets a few at a time through, the others wait in the order they came: long replays take turns, so that live text is never
// behind more than a few pages of old text.
export class Turnstile {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** @param width how many at a time */
  constructor(width: number) {
    this.#free = width;
  }

  async pass<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
