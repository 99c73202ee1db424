// Flattens a schedule into the arrays of one native call.
import type { ForwardBatch } from './forward-batch.ts';
import { flattenAdjustments } from './logit-adjustments.ts';
import type { ScheduledSequence } from './scheduler.ts';

export interface BuiltBatch {
  readonly batch: ForwardBatch;
  /** The sequences whose next token is sampled, in the order of the samples: those that catch up entirely. */
  readonly sampled: readonly ScheduledSequence[];
}

export function buildBatch(scheduled: readonly ScheduledSequence[], blockSize: number): BuiltBatch {
  const numTokens = scheduled.reduce((sum, each) => sum + each.numTokens, 0);
  const numSeqs = scheduled.length;
  const maxBlocks = Math.max(...scheduled.map(({ sequence }) => sequence.blockTable.length));
  const sampled = scheduled.filter(
    ({ sequence, numTokens: count }) => count === sequence.numPendingTokens,
  );
  const batch = {
    tokenIds: new Int32Array(numTokens),
    positions: new Int32Array(numTokens),
    slots: new Int32Array(numTokens),
    queryStarts: new Int32Array(numSeqs + 1),
    contextLens: new Int32Array(numSeqs),
    blockTables: new Int32Array(numSeqs * maxBlocks).fill(-1),
    maxBlocks,
    sampleRows: new Int32Array(sampled.length),
    temperatures: Float32Array.from(
      sampled,
      ({ sequence }) => sequence.request.sampling.temperature,
    ),
    topPs: Float32Array.from(sampled, ({ sequence }) => sequence.request.sampling.topP),
    topKs: Int32Array.from(sampled, ({ sequence }) => sequence.request.sampling.topK),
    seeds: Uint32Array.from(sampled, ({ sequence }) => sequence.request.sampling.seed),
    ...samplingExtras(sampled),
  };
  let row = 0;
  let sample = 0;
  for (const [index, { sequence, numTokens: count }] of scheduled.entries()) {
    const end = sequence.numComputedTokens + count;
    for (let position = sequence.numComputedTokens; position < end; position += 1, row += 1) {
      batch.tokenIds[row] = sequence.tokenIds[position] ?? -1;
      batch.positions[row] = position;
      batch.slots[row] =
        (sequence.blockTable[Math.floor(position / blockSize)] ?? -1) * blockSize +
        (position % blockSize);
    }
    batch.queryStarts[index + 1] = row;
    batch.contextLens[index] = end;
    batch.blockTables.set(sequence.blockTable, index * maxBlocks);
    if (count === sequence.numPendingTokens) batch.sampleRows[sample++] = row - 1;
  }
  return { batch, sampled };
}

/** What most samples do without: undefined where none of them uses it. */
function samplingExtras(
  sampled: readonly ScheduledSequence[],
): Pick<ForwardBatch, 'minPs' | 'adjustments' | 'numLogprobs'> {
  const samplings = sampled.map(({ sequence }) => sequence.request.sampling);
  const isAdjusted = sampled.some(({ sequence }) => sequence.adjustments !== null);
  return {
    minPs: samplings.some(({ minP = 0 }) => minP > 0)
      ? Float32Array.from(samplings, ({ minP = 0 }) => minP)
      : undefined,
    adjustments: isAdjusted
      ? flattenAdjustments(
          sampled.map(
            ({ sequence: { adjustments, tokenIds } }) =>
              adjustments?.rowAt(tokenIds, tokenIds.length) ?? null,
          ),
        )
      : undefined,
    numLogprobs: samplings.some(({ logprobs = null }) => logprobs !== null)
      ? Int32Array.from(samplings, ({ logprobs }) => logprobs ?? -1)
      : undefined,
  };
}
