// Lets a few at a time through, the others wait in the order they came: long replays, and readers that all come back at
// once, take turns, so that live text is never behind more than a few of them.
export class Turnstile {
  readonly #waiting = new Set<() => void>();
  #free: number;

  /** @param width how many at a time */
  constructor(width: number) {
    this.#free = width;
  }

  /** @param patienceMs who has waited for this long passes beside the others: one of them may hang */
  async pass<Result>(work: () => Promise<Result>, patienceMs = Infinity): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else if (!(await this.#turn(patienceMs))) return work();
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  /** False when patience ended first. */
  #turn(patienceMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const enter = (isTheirTurn: boolean): void => {
        this.#waiting.delete(called);
        clearTimeout(timer);
        resolve(isTheirTurn);
      };
      const called = (): void => enter(true);
      this.#waiting.add(called);
      if (patienceMs !== Infinity) timer = setTimeout(enter, patienceMs, false);
    });
  }
}
