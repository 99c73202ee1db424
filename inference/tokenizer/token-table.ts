// The bytes of every token, as one array and its cuts.
import { AppError } from '../../contracts/errors.ts';

export class TokenTable {
  readonly #bytes: Uint8Array;
  readonly #offsets: Int32Array;

  /**
   * @param bytes all tokens' bytes, one after the other
   * @param offsets [vocabSize + 1] token i is bytes[offsets[i] … offsets[i + 1]); control tokens have none
   */
  constructor(bytes: Uint8Array, offsets: Int32Array) {
    this.#bytes = bytes;
    this.#offsets = offsets;
  }

  /**
   * A view of a token's bytes, not to be changed; empty for control tokens, which are no text.
   * @throws AppError INVALID_REQUEST when the vocabulary has no such id: it was made by another model
   */
  bytesOf(tokenId: number): Uint8Array {
    const start = this.#offsets[tokenId];
    const end = this.#offsets[tokenId + 1];
    if (start === undefined || end === undefined) {
      throw new AppError('INVALID_REQUEST', {
        message: `token ${tokenId} is not one of the ${this.#offsets.length - 1} of this model`,
      });
    }
    return this.#bytes.subarray(start, end);
  }
}
