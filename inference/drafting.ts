// Adds guesses to the sequences that get a token in a step, as far as they are worth it and have room.
import { draftOf } from './batch-builder.ts';
import type { Schedule, ScheduledSequence, Scheduler } from './scheduler.ts';
import type { Speculator } from './speculator.ts';

export interface DraftLimits {
  readonly maxNumBatchedTokens: number;
  readonly contextLength: number;
}

export function addDrafts(
  schedule: Schedule,
  speculator: Speculator,
  scheduler: Scheduler,
  limits: DraftLimits,
): Schedule {
  const plan = { numRows: 0, numTokens: 0 };
  for (const { sequence, numTokens } of schedule.scheduled) {
    plan.numRows += numTokens;
    if (numTokens === sequence.numPendingTokens) plan.numTokens += sequence.numDraws;
  }
  const scheduled = schedule.scheduled.map((each): ScheduledSequence => {
    const { sequence, numTokens } = each;
    if (numTokens !== sequence.numPendingTokens || sequence.numSeats > 1) return each;
    // What a beam goes on with is decided by all beams, one token at a time.
    if (sequence.search !== null) return each;
    const { tokenIds, numOutputTokens, request } = sequence;
    const room = Math.min(
      limits.maxNumBatchedTokens - plan.numRows,
      request.maxTokens - numOutputTokens - 1,
      limits.contextLength - tokenIds.length - 1,
    );
    const draft = speculator.draft(sequence, plan, room);
    if (draft === null) return each;
    const numReserved = scheduler.reserve(sequence, draft.tokenIds.length);
    if (numReserved === 0) return each;
    return { ...each, draft: { ...draft, tokenIds: draft.tokenIds.slice(0, numReserved) } };
  });
  return { ...schedule, scheduled };
}

/** Samples of a scheduled sequence that gets tokens: one, and one for each guess; or one for each reply it forks into. */
export function numSamplesOf(each: ScheduledSequence): number {
  const { numDraws } = each.sequence;
  return numDraws > 1 ? numDraws : 1 + draftOf(each).length;
}
