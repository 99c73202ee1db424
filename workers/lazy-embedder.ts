// The sentence encoder of a worker that seldom needs it: loaded with the first text, on one thread beside the engine's.
import { Embedder } from '../inference/embedder.ts';

export class LazyEmbedder {
  readonly #modelPath: string;
  #embedder: Embedder | null = null;

  constructor(modelPath: string) {
    this.#modelPath = modelPath;
  }

  /** @throws AppError INVALID_REQUEST when the file cannot be served */
  get(): Embedder {
    this.#embedder ??= new Embedder({ modelPath: this.#modelPath, threads: 1 });
    return this.#embedder;
  }

  async close(): Promise<void> {
    await this.#embedder?.close();
  }
}
