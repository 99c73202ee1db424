// An executor that runs on real weights and keeps a digest of the raw logits of every row that was sampled. A sequence is
// known by its seed, which the test makes unique, and a row by the position it is at; so rows can be compared whatever
// batch, chunk, block or step they were computed in.
import { createHash } from 'node:crypto';
import type {
  DraftExecutor,
  Executor,
  ForwardBatch,
  ForwardCallback,
} from '../../inference/forward-batch.ts';
import type { NativeModel } from '../../inference/native.ts';

export interface RecordedRow {
  readonly seed: number;
  /** Of the token whose row it is: the sampled one comes at position + 1. */
  readonly position: number;
  /** SHA-256 of the row's logits, bit for bit. */
  readonly digest: string;
  readonly sampledId: number;
}

export class LogitsRecorder implements Executor {
  readonly numBlocks: number;
  readonly numSwapBlocks: number;
  readonly draft: DraftExecutor | null;
  /** Next to nothing, so that whoever is preempted and has room beside the pool is copied there. */
  readonly blockCopyMs = 1e-9;
  /** Rows that decided a token of the output, in order of computing. What followed a wrong guess is not among them. */
  readonly rows: RecordedRow[] = [];
  /** Blocks that were copied within the pool, for forks. */
  numForkCopies = 0;
  /** Blocks that were copied out of the pool. */
  numSwappedOut = 0;
  readonly #model: NativeModel;

  /**
   * @param model outlives the recorder, whose close() leaves it open; its pool is used as it is, old contents and all
   * @param numBlocks how many of the model's blocks there seem to be
   * @param numSwapBlocks how many of those behind them are there to swap to
   * @param hasDraft whether the model's draft model is there, too
   */
  constructor(
    model: NativeModel,
    numBlocks = model.numBlocks,
    numSwapBlocks = 0,
    hasDraft = false,
  ) {
    this.#model = model;
    this.numBlocks = numBlocks;
    this.numSwapBlocks = numSwapBlocks;
    this.draft = hasDraft ? model.draft : null;
  }

  get vocabSize(): number {
    return this.#model.vocabSize;
  }

  get contextLength(): number {
    return this.#model.contextLength;
  }

  get blockSize(): number {
    return this.#model.blockSize;
  }

  forward(batch: ForwardBatch, callback: ForwardCallback): void {
    const targets = batch.copies?.targets ?? new Int32Array();
    const sources = batch.copies?.sources ?? targets;
    for (const [index, target] of targets.entries()) {
      if (target >= this.numBlocks) this.numSwappedOut += 1;
      else if ((sources[index] ?? 0) < this.numBlocks) this.numForkCopies += 1;
    }
    void this.#run(batch, callback);
  }

  close(): void {
    // The model is the test's.
  }

  async #run(batch: ForwardBatch, callback: ForwardCallback): Promise<void> {
    let step: Awaited<ReturnType<NativeModel['forwardWithLogits']>>;
    try {
      step = await this.#model.forwardWithLogits(batch);
      this.#record(batch, step.sampledIds, step.logits);
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)), null);
      return;
    }
    callback(null, step.sampledIds, step.logprobs);
  }

  #record(batch: ForwardBatch, sampledIds: Int32Array, logits: Float32Array): void {
    const { sampleRows, positions, tokenIds, seeds } = batch;
    const starts = new Set(batch.queryStarts);
    let isRight = true;
    for (const [sample, row] of sampleRows.entries()) {
      // A row behind another sample of its sequence holds a guess: it counts if that sample turned out the same.
      const isGuess = sample > 0 && sampleRows[sample - 1] === row - 1 && !starts.has(row);
      isRight = isGuess ? isRight && sampledIds[sample - 1] === tokenIds[row] : true;
      if (!isRight) continue;
      this.rows.push({
        seed: seeds[sample] ?? -1,
        position: positions[row] ?? -1,
        digest: digestOf(logits.subarray(sample * this.vocabSize, (sample + 1) * this.vocabSize)),
        sampledId: sampledIds[sample] ?? -1,
      });
    }
  }
}

function digestOf(logits: Float32Array): string {
  return createHash('sha256')
    .update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength))
    .digest('base64');
}
