// The one structure that crosses from the scheduler's world into native code, once a step. Flat typed arrays, owned by
// the caller, which leaves them alone until the callback. Ids and lengths are range-checked again on the native side.

/** One step's work: numSeqs sequences with numTokens query tokens in all; numSamples of the rows get a next token. */
export interface ForwardBatch {
  /** [numTokens] ids to run, sequence after sequence. */
  readonly tokenIds: Int32Array;
  /** [numTokens] position of each token in its sequence, from 0. */
  readonly positions: Int32Array;
  /** [numTokens] KV slot (blockId * blockSize + offset) that each token's K and V are written to. */
  readonly slots: Int32Array;
  /** [numSeqs + 1] start of each sequence's rows in tokenIds; last = numTokens. */
  readonly queryStarts: Int32Array;
  /** [numSeqs] tokens of context after this step: positions 0 … contextLens - 1 are attended to. */
  readonly contextLens: Int32Array;
  /** [numSeqs * maxBlocks] block ids in order, padded with -1. */
  readonly blockTables: Int32Array;
  /** Columns of blockTables. */
  readonly maxBlocks: number;
  /** [numSamples] rows of tokenIds whose next token is sampled. */
  readonly sampleRows: Int32Array;
  /** [numSamples] each; see SamplingParams. */
  readonly temperatures: Float32Array;
  readonly topPs: Float32Array;
  readonly topKs: Int32Array;
  readonly seeds: Uint32Array;
}

/** The position that decides a sample's random number is that of the token being made: positions[sampleRow] + 1. */
export type ForwardCallback = (error: Error | null, sampledIds: Int32Array | null) => void;

/** What the engine needs of an executor: the native model, or a fake one in unit tests. */
export interface Executor {
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  /** Runs one step on the executor's own threads; at most one at a time. The callback comes on the JS thread, never before return. */
  forward(batch: ForwardBatch, callback: ForwardCallback): void;
  close(): void;
}
