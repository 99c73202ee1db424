// Logits of one sequence straight from the native model, in one step: for comparing numbers, not for speed.
import type { NativeModel } from '../../inference/native.ts';

/**
 * @param tokenIds run from position 0 in the pool's first blocks
 * @param rows indices of tokenIds whose logits are wanted
 * @returns [rows.length, vocabSize]
 */
export async function logitsOf(
  native: NativeModel,
  tokenIds: readonly number[],
  rows: readonly number[],
): Promise<Float32Array> {
  const count = tokenIds.length;
  const positions = Int32Array.from({ length: count }, (_, index) => index);
  const maxBlocks = Math.ceil(count / native.blockSize);
  const { logits } = await native.forwardWithLogits({
    tokenIds: Int32Array.from(tokenIds),
    positions,
    slots: positions.slice(),
    queryStarts: Int32Array.from([0, count]),
    contextLens: Int32Array.from([count]),
    blockTables: Int32Array.from({ length: maxBlocks }, (_, index) => index),
    maxBlocks,
    sampleRows: Int32Array.from(rows),
    temperatures: new Float32Array(rows.length),
    topPs: new Float32Array(rows.length).fill(1),
    topKs: new Int32Array(rows.length),
    seeds: new Uint32Array(rows.length),
  });
  return logits;
}

/** Minus the natural logarithm of the probability that softmax gives to `tokenId`. */
export function surprise(logits: Float32Array, tokenId: number): number {
  const greatest = logits.reduce((most, each) => Math.max(most, each), -Infinity);
  const sum = logits.reduce((total, each) => total + Math.exp(each - greatest), 0);
  return Math.log(sum) + greatest - (logits[tokenId] ?? NaN);
}

/** The difference of the two greatest. */
export function gapOfBest(logits: Float32Array): number {
  let [best, second] = [-Infinity, -Infinity];
  for (const each of logits) {
    if (each > best) [best, second] = [each, best];
    else if (each > second) second = each;
  }
  return best - second;
}
