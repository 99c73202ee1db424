// Something large that is opened when it is used and freed when it was not for a while: a job's model takes no memory
// between jobs, and is not loaded for every batch of one.

export interface Resource {
  close(): void | Promise<void>;
}

export class IdleResource<Held extends Resource> {
  readonly #open: () => Held;
  readonly #idleMs: number;
  #held: Held | null = null;
  #numUsers = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(open: () => Held, idleMs: number) {
    this.#open = open;
    this.#idleMs = idleMs;
  }

  get isOpen(): boolean {
    return this.#held !== null;
  }

  /** Runs `work`, which must not keep what it is lent. @throws what opening throws */
  async use<Result>(work: (held: Held) => Result | Promise<Result>): Promise<Result> {
    clearTimeout(this.#timer);
    this.#held ??= this.#open();
    this.#numUsers += 1;
    try {
      return await work(this.#held);
    } finally {
      this.#numUsers -= 1;
      if (this.#numUsers === 0) this.#closeLater();
    }
  }

  /** Frees it now; for the end of the process, when nobody uses it. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    const held = this.#held;
    this.#held = null;
    if (held !== null) this.#closing = Promise.resolve(held.close());
    await this.#closing;
  }

  #closeLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.close(), this.#idleMs);
    this.#timer.unref();
  }
}
