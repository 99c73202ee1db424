// Bytes of tokens to text: a character split over tokens waits for its end. Semantics of the WHATWG decoder
// (Encoding Standard, §8.1.1), which is Node's own.

/** State is a function of the bytes pushed so far. */
export class Utf8Stream {
  // A byte order mark that a model writes is text of the reply; the decoder would drop it.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  /** The characters that these bytes complete; bytes that can be part of none become U+FFFD. */
  push(bytes: Uint8Array): string {
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What an incomplete character at the end amounts to: nothing, or U+FFFD. */
  end(): string {
    return this.#decoder.decode();
  }
}
