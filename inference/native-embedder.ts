// Sentence embeddings on the Rust addon.
import { asAppError, loadAddon, translated } from './addon.ts';
import type { AddonEmbedder, EmbedderInfo } from './addon.ts';
import type { LoadOptions } from './native.ts';

/** A loaded encoder. It owns its weights and its threads until close(). */
export class NativeEmbedder {
  readonly info: EmbedderInfo;
  readonly #model: AddonEmbedder;

  /** @throws AppError INVALID_REQUEST when the file is no encoder that can be served; the message says why */
  constructor(options: Pick<LoadOptions, 'path' | 'threads' | 'kernels'>) {
    const { NativeEmbedder: Model } = loadAddon();
    const { path, threads, kernels = '' } = options;
    this.#model = translated(() => new Model({ path, threads, kernels }));
    this.info = this.#model.info;
  }

  /** Ids of a text between its two marks; what goes beyond the context length is cut off. */
  encode(text: string): Int32Array {
    return translated(() => this.#model.encode(text));
  }

  /**
   * Embeds a batch off the JS thread.
   * @param starts [texts + 1] text i is tokenIds[starts[i] … starts[i + 1])
   * @returns [texts, width], each vector of length 1
   */
  async embed(tokenIds: Int32Array, starts: Int32Array): Promise<Float32Array> {
    try {
      return await this.#model.embed(tokenIds, starts);
    } catch (error) {
      throw asAppError(error);
    }
  }

  /** Frees the model once no batch is under way. */
  close(): void {
    this.#model.close();
  }
}
