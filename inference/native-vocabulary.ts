// A vocabulary on the Rust addon.
import { loadAddon, translated } from './addon.ts';
import type { AddonVocabulary, VocabularyInfo } from './addon.ts';

/** A file's vocabulary without its weights, which may be missing. Owned by the caller until close(). */
export class NativeVocabulary {
  readonly info: VocabularyInfo;
  /** As NativeModel's. */
  readonly tokenBytes: Uint8Array;
  readonly tokenOffsets: Int32Array;
  readonly #vocabulary: AddonVocabulary;

  /** @throws AppError INVALID_REQUEST when the file has no vocabulary that can be used; the message says why */
  constructor(path: string) {
    const { NativeVocabulary: Vocabulary } = loadAddon();
    this.#vocabulary = translated(() => new Vocabulary(path));
    this.info = this.#vocabulary.info;
    this.tokenBytes = this.#vocabulary.tokenBytes();
    this.tokenOffsets = this.#vocabulary.tokenOffsets();
  }

  /** As NativeModel's. @throws AppError INVALID_REQUEST once it is closed */
  encode(text: string): Int32Array {
    return translated(() => this.#vocabulary.encode(text));
  }

  /** As NativeModel's. @throws AppError INVALID_REQUEST once it is closed */
  controlTokenId(text: string): number | null {
    return translated(() => this.#vocabulary.controlTokenId(text));
  }

  close(): void {
    this.#vocabulary.close();
  }
}
