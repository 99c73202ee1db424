// Streams live for minutes, a key is believed for a moment: a stream whose key was revoked, has expired, or whose user was
// disabled is closed within two seconds. Its reader comes back and is refused as anybody else.
import type { OpenStream } from './open-streams.ts';

type Closable = Pick<OpenStream, 'close'>;

export interface KeyWatchOptions {
  /** Of these hashes, those that still let somebody in. */
  readonly valid: (keyHashes: readonly Buffer[]) => Promise<readonly Buffer[]>;
  /** Hears of the first failure after a success: until the store is back, streams go on. */
  readonly onError: (error: unknown) => void;
  /** Default 1000. */
  readonly lookMs?: number;
}

export class KeyWatch {
  readonly #options: KeyWatchOptions;
  /** By the hash of the key in base64. */
  readonly #streams = new Map<string, Set<Closable>>();
  #timer: NodeJS.Timeout | null = null;
  #hasFailed = false;

  constructor(options: KeyWatchOptions) {
    this.#options = options;
  }

  /** @returns a function that ends the watch of this stream */
  watch(keyHash: Buffer, stream: Closable): () => void {
    const key = keyHash.toString('base64');
    const streams = this.#streams.get(key) ?? new Set();
    streams.add(stream);
    this.#streams.set(key, streams);
    this.#lookLater();
    return () => {
      streams.delete(stream);
      if (streams.size === 0 && this.#streams.get(key) === streams) this.#streams.delete(key);
    };
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#streams.clear();
  }

  #lookLater(): void {
    if (this.#timer !== null || this.#streams.size === 0) return;
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => {
        this.#timer = null;
        this.#lookLater();
      });
    }, this.#options.lookMs ?? 1000);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const asked = [...this.#streams.keys()];
    try {
      const valid = await this.#options.valid(asked.map((key) => Buffer.from(key, 'base64')));
      const still = new Set(valid.map((hash) => hash.toString('base64')));
      for (const key of asked.filter((each) => !still.has(each)))
        for (const stream of [...(this.#streams.get(key) ?? [])]) stream.close();
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.#options.onError(error);
      this.#hasFailed = true;
    }
  }
}
