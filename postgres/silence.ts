// Whether the store stays silent to those who ask it. A probe of its own may be lucky with a connection that works while
// others of the pool hang half-open, so what counts is how the newest real statement ended.

/** Without another statement, a silence is believed for this long: one that is kept out of the way gets no statements. */
const BELIEVED_MS = 5000;

export class Silence {
  #since: number | null = null;
  readonly #now: () => number;

  /** @param now milliseconds of any clock that only grows */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A statement ended. */
  readonly onEnd = (isAnswered: boolean): void => {
    this.#since = isAnswered ? null : this.#now();
  };

  /** The newest statement had no answer, and that was a moment ago. */
  get isSilent(): boolean {
    return this.#since !== null && this.#now() - this.#since < BELIEVED_MS;
  }
}
