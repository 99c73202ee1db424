// What a sequence must be before it is queued: everything that would fail later, in a batch with others, fails here.
import { AppError } from '../contracts/errors.ts';
import type { SequenceRequest } from '../contracts/engine.ts';

export interface RequestBounds {
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Tokens the whole KV pool holds. */
  readonly poolTokens: number;
}

/** @throws AppError INVALID_REQUEST naming the field, CONTEXT_LENGTH_EXCEEDED when it could never run */
export function checkRequest(request: SequenceRequest, bounds: RequestBounds): void {
  const { promptTokenIds, outputTokenIds, maxTokens, sampling, stopTokenIds, priority } = request;
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
    Number.isFinite(sampling.temperature) &&
      sampling.temperature >= 0 &&
      sampling.temperature <= 100,
    'temperature',
  );
  ensure(sampling.topP > 0 && sampling.topP <= 1, 'topP');
  ensure(
    Number.isInteger(sampling.topK) && sampling.topK >= 0 && sampling.topK <= 0x7fff_ffff,
    'topK',
  );
  ensure(
    Number.isInteger(sampling.seed) && sampling.seed >= 0 && sampling.seed <= 0xffff_ffff,
    'seed',
  );
  // Alone in the pool it must be able to reach its end, else it would be preempted for ever.
  const longest = Math.min(promptTokenIds.length + maxTokens, bounds.contextLength);
  if (promptTokenIds.length + 1 > bounds.contextLength || longest > bounds.poolTokens) {
    throw new AppError('CONTEXT_LENGTH_EXCEEDED');
  }
}
