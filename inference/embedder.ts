// Texts to vectors, batched: texts of all calls wait in one queue, and each native call takes as many of them as fit a
// budget of tokens. A text's vector is bit-identical alone and in any batch, so batching shows in speed only.
import { AppError } from '../contracts/errors.ts';
import type { TextEmbedder } from '../contracts/text-embedder.ts';
import { NativeEmbedder } from './native-embedder.ts';

/** Tokens of one native call: enough to keep the kernels busy, few enough that a short text does not wait long. */
const DEFAULT_BATCH_TOKENS = 4096;

export interface EmbedderOptions {
  /** A GGUF file of the `bert` architecture. */
  readonly modelPath: string;
  /** 0 = one for each core. */
  readonly threads: number;
  /** Most tokens of one native call; a longer text is a batch of its own. */
  readonly maxBatchTokens?: number;
}

interface QueuedText {
  readonly tokenIds: Int32Array;
  /** Called once, with the vector or the error of its batch. */
  settle(vector: Float32Array | null, error?: unknown): void;
}

/** Owns its model until close(). */
export class Embedder implements TextEmbedder {
  readonly #model: NativeEmbedder;
  readonly #maxBatchTokens: number;
  readonly #queue: QueuedText[] = [];
  #running: Promise<void> | null = null;
  #isClosed = false;

  /** @throws AppError INVALID_REQUEST when the file cannot be served; the message says why */
  constructor({ modelPath, threads, maxBatchTokens = DEFAULT_BATCH_TOKENS }: EmbedderOptions) {
    this.#model = new NativeEmbedder({ path: modelPath, threads });
    this.#maxBatchTokens = maxBatchTokens;
  }

  get model(): string {
    return this.#model.info.name;
  }

  /** Values of a vector. */
  get width(): number {
    return this.#model.info.width;
  }

  /**
   * Vectors of length 1, [texts, width], in the order of the texts. Of a text that is longer than the model's context
   * the beginning counts.
   * @throws AppError INVALID_REQUEST once the embedder is closed
   */
  async embed(texts: readonly string[]): Promise<Float32Array> {
    if (this.#isClosed) throw new AppError('INVALID_REQUEST', { message: 'the model is closed' });
    const vectors = new Float32Array(texts.length * this.width);
    if (texts.length === 0) return vectors;
    await new Promise<void>((resolve, reject) => {
      let numLeft = texts.length;
      const queued = texts.map((text, index) => ({
        tokenIds: this.#model.encode(text),
        settle: (vector: Float32Array | null, error?: unknown): void => {
          if (vector === null) {
            reject(error instanceof Error ? error : new AppError('INTERNAL', { cause: error }));
            return;
          }
          vectors.set(vector, index * this.width);
          numLeft -= 1;
          if (numLeft === 0) resolve();
        },
      }));
      this.#queue.push(...queued);
      this.#running ??= this.#run();
    });
    return vectors;
  }

  /** Frees the model when all that was asked for is done. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
    this.#model.close();
  }

  /** Runs batches until the queue is empty. */
  async #run(): Promise<void> {
    // Calls made together are batched together.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#runBatch(this.#takeBatch());
    this.#running = null;
  }

  /** The longest beginning of the queue that fits the budget; at least one text. */
  #takeBatch(): QueuedText[] {
    let numTokens = 0;
    const end = this.#queue.findIndex(({ tokenIds }, index) => {
      numTokens += tokenIds.length;
      return index > 0 && numTokens > this.#maxBatchTokens;
    });
    return this.#queue.splice(0, end < 0 ? this.#queue.length : end);
  }

  async #runBatch(batch: readonly QueuedText[]): Promise<void> {
    const starts = new Int32Array(batch.length + 1);
    for (const [index, { tokenIds }] of batch.entries())
      starts[index + 1] = (starts[index] ?? 0) + tokenIds.length;
    const tokenIds = new Int32Array(starts[batch.length] ?? 0);
    for (const [index, text] of batch.entries()) tokenIds.set(text.tokenIds, starts[index]);
    try {
      const vectors = await this.#model.embed(tokenIds, starts);
      for (const [index, { settle }] of batch.entries())
        settle(vectors.subarray(index * this.width, (index + 1) * this.width));
    } catch (error) {
      for (const { settle } of batch) settle(null, error);
    }
  }
}
