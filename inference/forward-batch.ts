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
  /** [numSamples]; left out where no sample uses it, as those below. */
  readonly minPs?: Float32Array | undefined;
  readonly adjustments?: AdjustmentRows | undefined;
  /** [numSamples] alternatives whose logprobs are wanted beside the sampled token's, at most 20; -1 = none at all. */
  readonly numLogprobs?: Int32Array | undefined;
  readonly copies?: BlockCopies | undefined;
}

/** Blocks copied before anything of the step is written, one after the other. Swap blocks are numbered behind the pool's. */
export interface BlockCopies {
  readonly sources: Int32Array;
  readonly targets: Int32Array;
}

/** Changes to single logits, made before anything else. Sample i has the entries starts[i] … starts[i + 1]. */
export interface AdjustmentRows {
  /** [numSamples + 1] last = number of entries. */
  readonly starts: Int32Array;
  /** [entries] token ids, distinct within a sample. */
  readonly ids: Int32Array;
  /** [entries] each: first added, */
  readonly biases: Float32Array;
  /** … then a divisor of what is positive and a factor of what is not, > 0, */
  readonly scales: Float32Array;
  /** … then subtracted. */
  readonly penalties: Float32Array;
}

/** Logprobs of one step, when a sample asked. See TokenLogprobs. */
export interface StepLogprobs {
  /** [numSamples] of the sampled tokens; NaN where the sample did not ask. */
  readonly sampled: Float32Array;
  /** Columns of topIds and topValues: the most that a sample asked for. */
  readonly maxTop: number;
  /** [numSamples * maxTop] ids of the most likely tokens, best first, padded with -1. */
  readonly topIds: Int32Array;
  /** [numSamples * maxTop] their logprobs. */
  readonly topValues: Float32Array;
}

/** The position that decides a sample's random number is that of the token being made: positions[sampleRow] + 1. */
export type ForwardCallback = (
  error: Error | null,
  sampledIds: Int32Array | null,
  logprobs?: StepLogprobs | null,
) => void;

/** A second, smaller model on the executor's threads, with a KV pool of its own, that guesses tokens. */
export interface DraftExecutor {
  readonly contextLength: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  /**
   * Runs a batch of the draft model and then its own samples, until sequence i has counts[i] guesses; 0 = it only catches
   * up. Samples are the last rows of the sequences that guess; their block tables have room for all guesses but the last.
   * At most one call of this or of forward() is under way.
   * @param counts [numSeqs]
   * @param callback guesses, sequence after sequence; on the JS thread, never before return
   */
  propose(
    batch: ForwardBatch,
    counts: Uint32Array,
    callback: (error: Error | null, guesses: Int32Array | null) => void,
  ): void;
}

/** What the engine needs of an executor: the native model, or a fake one in unit tests. */
export interface Executor {
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  /** Blocks beside the pool that sequences are swapped to; ids from numBlocks on. */
  readonly numSwapBlocks: number;
  /** How long the copy of one block takes; means nothing without swap blocks. */
  readonly blockCopyMs: number;
  /** Left out or null: there is no draft model. */
  readonly draft?: DraftExecutor | null;
  /** Runs one step on the executor's own threads; at most one at a time. The callback comes on the JS thread, never before return. */
  forward(batch: ForwardBatch, callback: ForwardCallback): void;
  close(): void;
}
