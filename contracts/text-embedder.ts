// What turns texts into vectors, as those who store and compare them see it.

export interface TextEmbedder {
  /** Vectors of different models cannot be compared: stored beside each. */
  readonly model: string;
  /** Values of a vector. */
  readonly width: number;
  /** Vectors of length 1, [texts, width], in the order of the texts. Never on the caller's thread. */
  embed(texts: readonly string[]): Promise<Float32Array>;
}

/** Width of the store's vector column; shorter vectors are padded with zeros, which changes no cosine. */
export const STORED_WIDTH = 1536;

/** Vector number `index` of what embed() gave. */
export function vectorAt(vectors: Float32Array, width: number, index: number): Float32Array {
  return vectors.subarray(index * width, (index + 1) * width);
}
