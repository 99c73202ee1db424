// Texts to vectors, for whoever stores or searches by meaning. Knows no model file and no database.

export interface TextEmbedder {
  /** Names the model: only vectors of the same one can be compared. */
  readonly model: string;
  /** Values of a vector. */
  readonly width: number;
  /** Vectors of length 1, [texts, width], in the order of the texts. */
  embed(texts: readonly string[]): Promise<Float32Array>;
}
