// Flattens a schedule into the arrays of one native call.
import { sampleSeed } from '../contracts/samples.ts';
import type { BlockCopies, ForwardBatch } from './forward-batch.ts';
import { flattenAdjustments } from './logit-adjustments.ts';
import type { Sequence } from './sequence.ts';
import type { Draft } from './speculator.ts';
import type { BlockCopy } from './swap-space.ts';

/** What a batch is made of: the engine's ScheduledSequence, or the draft model's. */
interface BatchEntry {
  readonly sequence: BatchSequence;
  readonly numTokens: number;
  readonly draft?: Draft | undefined;
}

type BatchSequence = Pick<
  Sequence,
  | 'request'
  | 'adjustments'
  | 'blockTable'
  | 'numComputedTokens'
  | 'numPendingTokens'
  | 'numSeats'
  | 'numDraws'
  | 'numTopLogprobs'
> & { readonly tokenIds: readonly number[] };

export interface BuiltBatch<Entry> {
  readonly batch: ForwardBatch;
  /**
   * The sequences that get tokens, in the order of the samples: those that catch up entirely. Each has one sample, and
   * one more for each token of its draft; or as many of its last row as replies it forks into.
   */
  readonly sampled: readonly Entry[];
}

/** A row whose next token is sampled. */
interface Sample {
  readonly sequence: BatchSequence;
  readonly row: number;
  /** The sequence's tokens, then its draft. */
  readonly tokenIds: readonly number[];
  /** How many of those the sampled token follows. */
  readonly length: number;
  readonly seed: number;
}

export function buildBatch<Entry extends BatchEntry>(
  scheduled: readonly Entry[],
  blockSize: number,
  copies: readonly BlockCopy[] = [],
): BuiltBatch<Entry> {
  const numTokens = scheduled.reduce((sum, each) => sum + each.numTokens + draftOf(each).length, 0);
  const numSeqs = scheduled.length;
  const maxBlocks = Math.max(...scheduled.map(({ sequence }) => sequence.blockTable.length));
  const batch = {
    tokenIds: new Int32Array(numTokens),
    positions: new Int32Array(numTokens),
    slots: new Int32Array(numTokens),
    queryStarts: new Int32Array(numSeqs + 1),
    contextLens: new Int32Array(numSeqs),
    blockTables: new Int32Array(numSeqs * maxBlocks).fill(-1),
    maxBlocks,
  };
  const sampled: Entry[] = [];
  const samples: Sample[] = [];
  let row = 0;
  for (const [index, each] of scheduled.entries()) {
    const { sequence, numTokens: count } = each;
    const draft = draftOf(each);
    const tokenIds = draft.length === 0 ? sequence.tokenIds : [...sequence.tokenIds, ...draft];
    const end = sequence.numComputedTokens + count + draft.length;
    for (let position = sequence.numComputedTokens; position < end; position += 1, row += 1) {
      batch.tokenIds[row] = tokenIds[position] ?? -1;
      batch.positions[row] = position;
      batch.slots[row] =
        (sequence.blockTable[Math.floor(position / blockSize)] ?? -1) * blockSize +
        (position % blockSize);
    }
    batch.queryStarts[index + 1] = row;
    batch.contextLens[index] = end;
    batch.blockTables.set(sequence.blockTable, index * maxBlocks);
    if (count !== sequence.numPendingTokens) continue;
    sampled.push(each);
    const { seed } = sequence.request.sampling;
    for (let after = draft.length; after >= 0; after -= 1)
      samples.push({ sequence, row: row - 1 - after, tokenIds, length: end - after, seed });
    for (let index = 1; index < sequence.numDraws; index += 1)
      samples.push({
        sequence,
        row: row - 1,
        tokenIds,
        length: end,
        seed: sampleSeed(seed, index),
      });
  }
  return { batch: { ...batch, ...samplingOf(samples), copies: flattenCopies(copies) }, sampled };
}

/** Undefined where nothing is copied, as in nearly every step. */
function flattenCopies(copies: readonly BlockCopy[]): BlockCopies | undefined {
  return copies.length === 0
    ? undefined
    : {
        sources: Int32Array.from(copies, ({ source }) => source),
        targets: Int32Array.from(copies, ({ target }) => target),
      };
}

export function draftOf({ draft }: Pick<BatchEntry, 'draft'>): readonly number[] {
  return draft?.tokenIds ?? [];
}

type Sampling = Pick<
  ForwardBatch,
  | 'sampleRows'
  | 'temperatures'
  | 'topPs'
  | 'topKs'
  | 'seeds'
  | 'minPs'
  | 'adjustments'
  | 'numLogprobs'
>;

/** The last three are what most samples do without: undefined where none of them uses it. */
function samplingOf(samples: readonly Sample[]): Sampling {
  const samplings = samples.map(({ sequence }) => sequence.request.sampling);
  const isAdjusted = samples.some(({ sequence }) => sequence.adjustments !== null);
  return {
    sampleRows: Int32Array.from(samples, ({ row }) => row),
    temperatures: Float32Array.from(samplings, ({ temperature }) => temperature),
    topPs: Float32Array.from(samplings, ({ topP }) => topP),
    topKs: Int32Array.from(samplings, ({ topK }) => topK),
    seeds: Uint32Array.from(samples, ({ seed }) => seed),
    minPs: samplings.some(({ minP = 0 }) => minP > 0)
      ? Float32Array.from(samplings, ({ minP = 0 }) => minP)
      : undefined,
    adjustments: isAdjusted
      ? flattenAdjustments(
          samples.map(
            ({ sequence: { adjustments }, tokenIds, length }) =>
              adjustments?.rowAt(tokenIds, length) ?? null,
          ),
        )
      : undefined,
    numLogprobs: samples.some(({ sequence }) => sequence.numTopLogprobs !== null)
      ? Int32Array.from(samples, ({ sequence }) => sequence.numTopLogprobs ?? -1)
      : undefined,
  };
}
