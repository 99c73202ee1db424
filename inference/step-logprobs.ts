// One sample's share of a step's logprobs, as a listener gets it.
import type { TokenLogprobs } from '../contracts/engine.ts';
import type { StepLogprobs } from './forward-batch.ts';

/** @param numTop what the sample asked for */
export function logprobsOf(step: StepLogprobs, sample: number, numTop: number): TokenLogprobs {
  const first = sample * step.maxTop;
  const ids = step.topIds.subarray(first, first + numTop);
  return {
    logprob: step.sampled[sample] ?? NaN,
    top: Array.from(ids, (tokenId, index) => ({
      tokenId,
      logprob: step.topValues[first + index] ?? NaN,
    })).filter(({ tokenId }) => tokenId >= 0), // A vocabulary smaller than what was asked for.
  };
}
