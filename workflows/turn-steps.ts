// How each step of a turn is run: time-outs, retries and the codes no retry can help. The numbers stand beside what
// they must beat.
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { ActivityInterfaceFor } from '@temporalio/workflow';
import type { createGenerateActivities } from '../activities/generate.ts';
import type { createTurnActivities } from '../activities/turn-steps.ts';
import type { RouteDecision } from '../contracts/turn-workflow.ts';

type TurnActivities = ReturnType<typeof createTurnActivities>;
type GenerateActivities = ReturnType<typeof createGenerateActivities>;

/** Codes that end a step at once: the input, the caller or the data are at fault, not the moment. */
const FINAL_CODES = [
  'FORBIDDEN',
  'CONVERSATION_NOT_FOUND',
  'TURN_NOT_FOUND',
  'TURN_DELETED',
  'TURN_LOG_LOST',
  'FENCED',
  'CONTEXT_LENGTH_EXCEEDED',
  'INVALID_REQUEST',
  'INVARIANT_VIOLATED',
];

/** A short step: local, its own marker. A store that restarts is waited for; a minute without it ends the turn with an error. */
export function shortStep(summary: string): ActivityInterfaceFor<TurnActivities> {
  return proxyLocalActivities<TurnActivities>({
    startToCloseTimeout: '5s',
    scheduleToCloseTimeout: '60s',
    retry: {
      initialInterval: '100ms',
      backoffCoefficient: 2,
      maximumInterval: '2s',
      nonRetryableErrorTypes: FINAL_CODES,
    },
    summary,
  });
}

/** Settling is worth a few tries only: a lease nobody settles comes back by itself. */
export function settleStep(summary: string): ActivityInterfaceFor<TurnActivities> {
  return proxyLocalActivities<TurnActivities>({
    startToCloseTimeout: '3s',
    scheduleToCloseTimeout: '10s',
    retry: { initialInterval: '100ms', backoffCoefficient: 2, maximumAttempts: 3 },
    summary,
  });
}

/**
 * The generation, on the pool's queue. A worker silent for heartbeatTimeout has died and the next attempt continues
 * its log; the queue is waited on for as long as a reader would (then the pool is overloaded). Thirty attempts outlast a
 * rolling restart of a pool, and a store that is away for a minute and a half: an attempt without it fails within 2 s.
 */
export function generateStep(
  route: RouteDecision,
  summary: string,
): ActivityInterfaceFor<GenerateActivities> {
  return proxyActivities<GenerateActivities>({
    taskQueue: route.taskQueue,
    startToCloseTimeout: '10m',
    scheduleToStartTimeout: '60s',
    heartbeatTimeout: '3s',
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: {
      initialInterval: '50ms',
      backoffCoefficient: 2,
      maximumInterval: '2s',
      maximumAttempts: 30,
      nonRetryableErrorTypes: FINAL_CODES,
    },
    priority: { priorityKey: route.priority },
    summary,
  });
}

/**
 * Storing, as part of the workflow task that saw the generation end. It must happen: a store may be away for minutes. It is
 * milliseconds as a rule; one whose answer is lost on the way is asked again after startToCloseTimeout.
 */
export function persistStep(summary: string): ActivityInterfaceFor<TurnActivities> {
  return proxyLocalActivities<TurnActivities>({
    startToCloseTimeout: '3s',
    scheduleToCloseTimeout: '10m',
    retry: {
      initialInterval: '50ms',
      backoffCoefficient: 2,
      maximumInterval: '2s',
      nonRetryableErrorTypes: FINAL_CODES,
    },
    summary,
  });
}
