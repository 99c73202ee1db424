// What a sequence must be before it is queued: everything that would fail later, in a batch with others, fails here.
import { AppError } from '../contracts/errors.ts';
import type { SequenceRequest } from '../contracts/engine.ts';
import { numContinuationsOf } from './beam-search.ts';
import { isPlainGreedy, MAX_LOGPROBS, wrongSampling } from './sampling-check.ts';

export interface RequestBounds {
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Tokens the whole KV pool holds. */
  readonly poolTokens: number;
  readonly blockSize: number;
  readonly maxNumSeqs: number;
}

/** @throws AppError INVALID_REQUEST naming the field, CONTEXT_LENGTH_EXCEEDED when it could never run */
export function checkRequest(request: SequenceRequest, bounds: RequestBounds): void {
  const { promptTokenIds, outputTokenIds, maxTokens, sampling, stopTokenIds, priority } = request;
  const { numSamples = 1, numBeams, lengthPenalty = 1 } = request;
  const ensure = (holds: boolean, param: string): void => {
    if (!holds)
      throw new AppError('INVALID_REQUEST', { message: `${param} is out of range`, param });
  };
  const areIds = (ids: readonly number[]): boolean =>
    ids.every((id) => Number.isInteger(id) && id >= 0 && id < bounds.vocabSize);
  ensure(promptTokenIds.length > 0 && areIds(promptTokenIds), 'promptTokenIds');
  ensure(areIds(outputTokenIds), 'outputTokenIds');
  ensure(areIds(stopTokenIds), 'stopTokenIds');
  ensure(Number.isInteger(maxTokens) && maxTokens >= 1, 'maxTokens');
  ensure(Number.isFinite(priority), 'priority');
  ensure(
    Number.isInteger(numSamples) && numSamples >= 1 && numSamples <= bounds.maxNumSeqs,
    'numSamples',
  );
  // Replies that were begun by an earlier attempt are continued one by one.
  ensure(numSamples === 1 || outputTokenIds.length === 0, 'numSamples');
  const wrong = wrongSampling(sampling, bounds.vocabSize);
  ensure(wrong === null, wrong ?? '');
  const chosen = (sampling.choices ?? []).flat();
  ensure(
    stopTokenIds.every((id) => !chosen.includes(id)),
    'choices',
  );
  if (numBeams !== undefined) {
    const most = Math.min(bounds.maxNumSeqs, MAX_LOGPROBS);
    ensure(Number.isInteger(numBeams) && numBeams >= 1 && numBeams <= most, 'numBeams');
    ensure(numContinuationsOf(numBeams, stopTokenIds) <= MAX_LOGPROBS, 'numBeams');
    ensure(numSamples <= numBeams, 'numSamples');
    ensure(outputTokenIds.length === 0, 'numBeams');
    ensure(isPlainGreedy(sampling), 'sampling');
    ensure(Math.abs(lengthPenalty) <= 10, 'lengthPenalty');
  }
  // Alone in the pool it must be able to reach its end, else it would be preempted for ever.
  const longest = Math.min(promptTokenIds.length + maxTokens, bounds.contextLength);
  // The replies of a fork each need a block to begin with.
  const forked = promptTokenIds.length + (numSamples - 1) * bounds.blockSize;
  // Beams go in step, so all of them must be able to reach the end together. A block more, to copy one that is shared.
  const numBlocks = (numBeams ?? 0) * (Math.ceil(longest / bounds.blockSize) + 1);
  if (
    promptTokenIds.length + 1 > bounds.contextLength ||
    Math.max(longest, forked, numBlocks * bounds.blockSize) > bounds.poolTokens
  ) {
    throw new AppError('CONTEXT_LENGTH_EXCEEDED');
  }
}
