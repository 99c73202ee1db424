// The whole sampler by its definition, in doubles and with full sorts; nothing of it is shared with the native one.
import type { SamplingParams } from '../../contracts/engine.ts';
import type { SlowAdjustment } from './slow-adjustments.ts';

/** A token's part of the line [0, 1) that the draw points into. */
export interface Place {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

export function adjusted(
  logits: Float32Array,
  adjustments: readonly SlowAdjustment[],
): Float64Array {
  const all = Float64Array.from(logits);
  for (const { id, bias, scale, penalty } of adjustments) {
    const biased = (all[id] ?? NaN) + bias;
    all[id] = (biased > 0 ? biased / scale : biased * scale) - penalty;
  }
  return all;
}

/** Where each token that the limits leave lies; `logits` are adjusted. */
export function placesOf(logits: Float64Array, sampling: SamplingParams): Place[] {
  const { temperature, topP, topK, minP = 0 } = sampling;
  const max = logits.reduce((one, other) => Math.max(one, other));
  let tokens = Array.from(logits, (logit, id) => ({
    id,
    weight: Math.exp((logit - max) / temperature),
  }));
  tokens = tokens.filter(({ weight }) => weight >= minP);
  if (topK > 0 || topP < 1) tokens.sort((one, other) => other.weight - one.weight);
  if (topK > 0) tokens = tokens.slice(0, topK);
  const placed = normalised(tokens);
  // The token in which the mass is reached is kept.
  return topP < 1 ? normalised(tokens.filter((_, at) => (placed[at]?.from ?? 1) < topP)) : placed;
}

/** The number in [0, 1) of a seed and a position. Source: SplitMix64 (Steele et al., 2014), its finaliser. */
export function drawAt(seed: number, position: number): number {
  const cut = (value: bigint): bigint => BigInt.asUintN(64, value);
  let state = cut((BigInt(seed) << 32n) + BigInt(position) + 0x9e37_79b9_7f4a_7c15n);
  state = cut((state ^ (state >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
  state = cut((state ^ (state >> 27n)) * 0x94d0_49bb_1331_11ebn);
  return Number((state ^ (state >> 31n)) >> 11n) / 2 ** 53;
}

/** Natural logarithms of all tokens' probabilities. */
export function logSoftmax(logits: Float32Array): Float64Array {
  const all = Float64Array.from(logits);
  const max = all.reduce((one, other) => Math.max(one, other));
  const total = all.reduce((sum, logit) => sum + Math.exp(logit - max), 0);
  return all.map((logit) => logit - max - Math.log(total));
}

function normalised(tokens: readonly { readonly id: number; readonly weight: number }[]): Place[] {
  const total = tokens.reduce((sum, { weight }) => sum + weight, 0);
  let from = 0;
  return tokens.map(({ id, weight }) => {
    const place = { id, from: from / total, to: (from + weight) / total };
    from += weight;
    return place;
  });
}
