// An executor without weights: it remembers each slot's token and position, checks that a batch would attend to exactly
// its own sequence, and makes the next token a hash of the whole context. Steps run when the test says so, or at once.
import type { Executor, ForwardBatch, ForwardCallback } from '../../inference/forward-batch.ts';

export interface FakeExecutorOptions {
  readonly numBlocks: number;
  readonly blockSize?: number;
  readonly vocabSize?: number;
  readonly contextLength?: number;
  /** Steps wait for releaseStep(). */
  readonly isManual?: boolean;
}

export class FakeExecutor implements Executor {
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly batches: ForwardBatch[] = [];
  isClosed = false;
  /** Set to make the next step fail. */
  nextError: Error | null = null;
  readonly #slots: { tokenId: number; position: number }[] = [];
  readonly #isManual: boolean;
  #release: (() => void) | null = null;
  #isBusy = false;

  constructor(options: FakeExecutorOptions) {
    this.numBlocks = options.numBlocks;
    this.blockSize = options.blockSize ?? 4;
    this.vocabSize = options.vocabSize ?? 1000;
    this.contextLength = options.contextLength ?? 1000;
    this.#isManual = options.isManual ?? false;
  }

  get hasStepUnderWay(): boolean {
    return this.#isBusy;
  }

  forward(batch: ForwardBatch, callback: ForwardCallback): void {
    if (this.#isBusy) throw new Error('two steps at once');
    this.#isBusy = true;
    this.batches.push(batch);
    const run = (): void => {
      this.#isBusy = false;
      const error = this.nextError;
      this.nextError = null;
      if (error !== null) callback(error, null);
      else callback(null, this.#compute(batch));
    };
    if (this.#isManual) this.#release = run;
    else setImmediate(run);
  }

  /** Lets the step under way return. */
  releaseStep(): void {
    const run = this.#release;
    this.#release = null;
    run?.();
  }

  close(): void {
    this.isClosed = true;
  }

  #compute(batch: ForwardBatch): Int32Array {
    const written = new Set<number>();
    batch.slots.forEach((slot, row) => {
      if (slot < 0 || slot >= this.numBlocks * this.blockSize) throw new Error(`slot ${slot} is not in the pool`);
      if (written.has(slot)) throw new Error(`slot ${slot} is written twice in one step`);
      written.add(slot);
      this.#slots[slot] = { tokenId: at(batch.tokenIds, row), position: at(batch.positions, row) };
    });
    return Int32Array.from(batch.sampleRows, (row) => this.#next(batch, row));
  }

  #next(batch: ForwardBatch, row: number): number {
    const seq = batch.queryStarts.findIndex((start, index) => start <= row && row < at(batch.queryStarts, index + 1));
    const contextLen = at(batch.contextLens, seq);
    if (at(batch.positions, row) !== contextLen - 1) throw new Error('a sampled row is not the last of its sequence');
    const context = Array.from({ length: contextLen }, (_, position) => {
      const block = at(batch.blockTables, seq * batch.maxBlocks + Math.floor(position / this.blockSize));
      const slot = this.#slots[block * this.blockSize + (position % this.blockSize)];
      if (slot?.position !== position) throw new Error(`position ${position} of a sequence is not where its block table says`);
      return slot.tokenId;
    });
    return nextToken(context, this.vocabSize);
  }
}

/** The token that follows a context: any change of the context changes it. */
export function nextToken(context: readonly number[], vocabSize: number): number {
  return context.reduce((hash, id) => (Math.imul(hash, 31) + id + 7) >>> 0, 17) % vocabSize;
}

function at(array: Int32Array, index: number): number {
  const value = array[index];
  if (value === undefined) throw new Error(`index ${index} is beyond an array of ${array.length}`);
  return value;
}
