// An executor without weights: it remembers each slot's token and position, checks that a batch would attend to exactly
// its own sequences, and makes the next token a hash of the whole context (and, when not greedy, of the sampling
// parameters and the position, as the native sampler does; adjustments of logits change it always). Steps run when the test says so, or in the next tick.
import type { SamplingParams } from '../../contracts/engine.ts';
import type {
  Executor,
  ForwardBatch,
  ForwardCallback,
  StepLogprobs,
} from '../../inference/forward-batch.ts';
import { FakeDraft } from './fake-draft.ts';
import type { FakeDraftOptions } from './fake-draft.ts';
import type { SlowAdjustment } from './slow-adjustments.ts';

export interface FakeExecutorOptions {
  readonly numBlocks: number;
  readonly blockSize?: number;
  readonly vocabSize?: number;
  readonly contextLength?: number;
  readonly numSwapBlocks?: number;
  /** Steps wait for releaseStep(). */
  readonly isManual?: boolean;
  /** The vocabulary's logprobs after a context, instead of the hash: greedy rows take the best, logprobs are told of these. */
  readonly distribution?: (context: readonly number[]) => readonly number[];
  /** It has a draft model, with a pool of its own. */
  readonly draft?: FakeDraftOptions | null;
}

/** What a step answers instead of its own result. */
export type Outcome = { readonly error: Error } | { readonly sampledIds: Int32Array | null };

export class FakeExecutor implements Executor {
  readonly draft: FakeDraft | null;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly numSwapBlocks: number;
  /** So little that swapping is always cheaper. */
  readonly blockCopyMs = 1e-9;
  readonly batches: ForwardBatch[] = [];
  numCloses = 0;
  /** Set to make the next step answer this. */
  nextOutcome: Outcome | null = null;
  /** Set to make the next forward() throw. */
  nextThrow: Error | null = null;
  readonly #slots: { tokenId: number; position: number }[] = [];
  readonly #isManual: boolean;
  readonly #distribution: FakeExecutorOptions['distribution'];
  #release: (() => void) | null = null;
  #isBusy = false;

  constructor(options: FakeExecutorOptions) {
    this.numBlocks = options.numBlocks;
    this.numSwapBlocks = options.numSwapBlocks ?? 0;
    this.blockSize = options.blockSize ?? 4;
    this.vocabSize = options.vocabSize ?? 1000;
    this.contextLength = options.contextLength ?? 1000;
    this.#isManual = options.isManual ?? false;
    this.#distribution = options.distribution;
    const { blockSize, vocabSize, contextLength } = this;
    const { draft = null } = options;
    this.draft =
      draft === null
        ? null
        : new FakeDraft(
            draft,
            new FakeExecutor({ blockSize, vocabSize, contextLength, ...draft }),
            (run) => this.#begin(run),
          );
  }

  get hasStepUnderWay(): boolean {
    return this.#isBusy;
  }

  forward(batch: ForwardBatch, callback: ForwardCallback): void {
    const thrown = this.nextThrow;
    this.nextThrow = null;
    if (thrown !== null) throw thrown;
    this.#begin(() => {
      const outcome = this.nextOutcome ?? this.compute(batch);
      this.nextOutcome = null;
      if ('error' in outcome) callback(outcome.error, null);
      else callback(null, outcome.sampledIds, this.#logprobsOf(batch, outcome.sampledIds));
    });
    this.batches.push(batch);
  }

  /** @param end tells the caller what came of the step */
  #begin(end: () => void): void {
    if (this.#isBusy) throw new Error('two steps at once');
    this.#isBusy = true;
    const run = (): void => {
      this.#isBusy = false;
      end();
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
    if (this.#isBusy) throw new Error('closed while a step is under way');
    this.numCloses += 1;
  }

  /** A batch that breaks a rule of ForwardBatch is an error, as it is of the native side. */
  compute(batch: ForwardBatch): Outcome {
    try {
      this.#checkShapes(batch);
      this.#copy(batch);
      this.#write(batch);
      return {
        sampledIds: Int32Array.from(batch.sampleRows, (row, sample) =>
          this.#next(batch, row, sample),
        ),
      };
    } catch (error) {
      return { error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  #checkShapes(batch: ForwardBatch): void {
    const numTokens = batch.tokenIds.length;
    const numSeqs = batch.contextLens.length;
    const numSamples = batch.sampleRows.length;
    for (const perToken of [batch.positions, batch.slots])
      ensure(perToken.length === numTokens, 'arrays per token differ in length');
    for (const perSample of [batch.temperatures, batch.topPs, batch.topKs, batch.seeds]) {
      ensure(perSample.length === numSamples, 'arrays per sample differ in length');
    }
    ensure(
      numTokens > 0 && batch.tokenIds.every((id) => id >= 0 && id < this.vocabSize),
      'token ids are out of range',
    );
    ensure(
      batch.queryStarts.length === numSeqs + 1 && at(batch.queryStarts, 0) === 0,
      'queryStarts does not begin at 0',
    );
    ensure(at(batch.queryStarts, numSeqs) === numTokens, 'queryStarts does not end at numTokens');
    ensure(
      batch.blockTables.length === numSeqs * batch.maxBlocks,
      'blockTables is not numSeqs * maxBlocks',
    );
    for (let seq = 0; seq < numSeqs; seq += 1) this.#checkSequence(batch, seq);
  }

  #checkSequence(batch: ForwardBatch, seq: number): void {
    const start = at(batch.queryStarts, seq);
    const end = at(batch.queryStarts, seq + 1);
    const contextLen = at(batch.contextLens, seq);
    ensure(end > start, 'a sequence has no rows');
    for (let row = start; row < end; row += 1) {
      const position = at(batch.positions, row);
      ensure(
        position === contextLen - (end - row),
        `position ${position} is not in a run that ends at the context's end`,
      );
      const block = at(
        batch.blockTables,
        seq * batch.maxBlocks + Math.floor(position / this.blockSize),
      );
      ensure(block >= 0 && block < this.numBlocks, `block ${block} is not in the pool`);
      const slot = block * this.blockSize + (position % this.blockSize);
      ensure(
        at(batch.slots, row) === slot,
        `the slot of position ${position} is not where the block table says`,
      );
    }
  }

  #copy({ copies }: ForwardBatch): void {
    for (const [index, source] of (copies?.sources ?? []).entries()) {
      const target = copies === undefined ? -1 : at(copies.targets, index);
      const end = this.numBlocks + this.numSwapBlocks;
      ensure(source >= 0 && source < end && target >= 0 && target < end, 'a copy leaves the pool');
      for (let offset = 0; offset < this.blockSize; offset += 1) {
        const slot = this.#slots[source * this.blockSize + offset];
        if (slot !== undefined) this.#slots[target * this.blockSize + offset] = slot;
        else Reflect.deleteProperty(this.#slots, target * this.blockSize + offset);
      }
    }
  }

  #write(batch: ForwardBatch): void {
    const written = new Set<number>();
    batch.slots.forEach((slot, row) => {
      ensure(!written.has(slot), `slot ${slot} is written twice in one step`);
      written.add(slot);
      this.#slots[slot] = { tokenId: at(batch.tokenIds, row), position: at(batch.positions, row) };
    });
  }

  /** With a distribution: the best of it, and their logprobs. */
  #logprobsOf(batch: ForwardBatch, sampledIds: Int32Array | null): StepLogprobs | null {
    const [counts, distribution] = [batch.numLogprobs, this.#distribution];
    if (counts === undefined || distribution === undefined) return logprobsOf(batch, sampledIds);
    const maxTop = Math.max(0, ...counts);
    const all = Array.from(batch.sampleRows, (row) => distribution(this.#contextOf(batch, row)));
    const tops = all.map((logprobs) => ranked(logprobs).slice(0, maxTop));
    const padded = tops.map((ids) => [...ids, ...Array<number>(maxTop - ids.length).fill(-1)]);
    return {
      sampled: Float32Array.from(all, (each, sample) => each[sampledIds?.[sample] ?? 0] ?? NaN),
      maxTop,
      topIds: Int32Array.from(padded.flat()),
      topValues: Float32Array.from(
        padded.flatMap((ids, at) => ids.map((id) => all[at]?.[id] ?? NaN)),
      ),
    };
  }

  #contextOf(batch: ForwardBatch, row: number): number[] {
    const seq = batch.queryStarts.findIndex(
      (start, index) => start <= row && row < at(batch.queryStarts, index + 1),
    );
    const contextLen = at(batch.positions, row) + 1;
    return Array.from({ length: contextLen }, (_, position) => {
      const block = at(
        batch.blockTables,
        seq * batch.maxBlocks + Math.floor(position / this.blockSize),
      );
      const slot = this.#slots[block * this.blockSize + (position % this.blockSize)];
      if (slot?.position !== position)
        throw new Error(`position ${position} of a sequence was never written or overwritten`);
      return slot.tokenId;
    });
  }

  #next(batch: ForwardBatch, row: number, sample: number): number {
    const context = this.#contextOf(batch, row);
    if (this.#distribution !== undefined) return ranked(this.#distribution(context))[0] ?? 0;
    const sampling = {
      temperature: at(batch.temperatures, sample),
      topP: at(batch.topPs, sample),
      topK: at(batch.topKs, sample),
      seed: at(batch.seeds, sample),
      minP: batch.minPs?.[sample] ?? 0,
    };
    return nextToken(context, this.vocabSize, sampling, adjustmentsOf(batch, sample));
  }
}

/** Ids, the likeliest first; equal ones in order of id. */
export function ranked(logprobs: readonly number[]): number[] {
  return logprobs
    .map((_, id) => id)
    .sort((one, other) => (logprobs[other] ?? 0) - (logprobs[one] ?? 0) || one - other);
}

const GREEDY: SamplingParams = { temperature: 0, topP: 1, topK: 0, seed: 0 };

/** The logprob of token i is −i / 8; alternatives are the ids from 0 on. */
function logprobsOf(batch: ForwardBatch, sampledIds: Int32Array | null): StepLogprobs | null {
  const counts = batch.numLogprobs;
  if (counts === undefined || sampledIds === null) return null;
  const maxTop = Math.max(0, ...counts);
  const tops = Array.from(counts).flatMap((count) =>
    Array.from({ length: maxTop }, (_, id) => (id < count ? id : -1)),
  );
  return {
    sampled: Float32Array.from(sampledIds, (id, sample) =>
      at(counts, sample) < 0 ? NaN : -id / 8,
    ),
    maxTop,
    topIds: Int32Array.from(tops),
    topValues: Float32Array.from(tops, (id) => (id < 0 ? NaN : -id / 8)),
  };
}

/** A sample's entries that change anything, in order of id. */
function adjustmentsOf({ adjustments }: ForwardBatch, sample: number): SlowAdjustment[] {
  if (adjustments === undefined) return [];
  const { starts, ids, biases, scales, penalties } = adjustments;
  const [first, end] = [at(starts, sample), at(starts, sample + 1)];
  return Array.from(ids.subarray(first, end), (id, index) => ({
    id,
    bias: at(biases, first + index),
    scale: at(scales, first + index),
    penalty: at(penalties, first + index),
  }))
    .filter(({ bias, scale, penalty }) => bias !== 0 || scale !== 1 || penalty !== 0)
    .sort((one, other) => one.id - other.id);
}

/**
 * The token that follows a context: any change of the context changes it, so does one of the adjustments, and so does the
 * sampling unless greedy.
 */
export function nextToken(
  context: readonly number[],
  vocabSize: number,
  sampling?: SamplingParams,
  adjustments: readonly SlowAdjustment[] = [],
): number {
  const isGreedy = sampling === undefined || sampling.temperature === 0;
  const { temperature, topP, topK, seed, minP = 0 } = sampling ?? GREEDY;
  const thousandths = (value: number): number => Math.round(value * 1000);
  const salt = [
    ...adjustments.flatMap(({ id, bias, scale, penalty }) => [
      id,
      ...[bias, scale, penalty].map(thousandths),
    ]),
    ...(isGreedy ? [] : [seed, context.length, ...[temperature, topP].map(thousandths), topK]),
    ...(isGreedy || minP === 0 ? [] : [thousandths(minP)]),
  ];
  const hash = [...context, ...salt].reduce((sum, id) => (Math.imul(sum, 31) + id + 7) >>> 0, 17);
  // A bias this large leaves nothing else, as with real logits.
  const allowed = adjustments.filter(({ bias }) => bias >= 1000);
  return allowed[hash % allowed.length]?.id ?? hash % vocabSize;
}

function ensure(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}

function at(array: Int32Array | Uint32Array | Float32Array, index: number): number {
  const value = array[index];
  if (value === undefined) throw new Error(`index ${index} is beyond an array of ${array.length}`);
  return value;
}
