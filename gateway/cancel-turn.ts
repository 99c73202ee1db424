// Cancel by both paths: the log tells the worker within milliseconds, the workflow's signal is durable.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { TurnDispatch } from '../contracts/turn-dispatch.ts';
import type { TurnLogWriter } from '../contracts/turn-log.ts';

export interface CancelDeps {
  readonly turnLog: TurnLogWriter;
  readonly dispatch: TurnDispatch;
}

/** `missed`: there is neither a running log nor a running workflow; the turn has ended, or is just being started. */
export type CancelOutcome = 'running' | 'signalled' | 'missed';

/** A turn that is accepted has a log or a workflow after this, or whoever accepted it has died. */
const START_MS = 2000;
const RETRY_MS = 25;

/** As cancelTurn, of a turn that was just seen running: one whose start is under way is cancelled when it has begun. */
export async function cancelRunning(
  deps: CancelDeps,
  conversationId: ConversationId,
  turnId: TurnId,
  isRunning: () => Promise<boolean>,
): Promise<void> {
  const since = performance.now();
  while ((await cancelTurn(deps, conversationId, turnId)) === 'missed') {
    if (performance.now() - since > START_MS || !(await isRunning())) return;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/**
 * The quick path may fail when the durable one does not, and the other way round; only both failing is a failure.
 * @throws AppError WORKFLOW_UNAVAILABLE when neither path works
 */
export async function cancelTurn(
  { turnLog, dispatch }: CancelDeps,
  conversationId: ConversationId,
  turnId: TurnId,
): Promise<CancelOutcome> {
  const [quick, durable] = await Promise.allSettled([
    turnLog.cancel(turnId),
    dispatch.cancel(conversationId, turnId),
  ]);
  if (quick.status === 'rejected' && durable.status === 'rejected') throw durable.reason;
  if (quick.status === 'rejected' || quick.value) return 'running';
  return durable.status === 'rejected' || durable.value ? 'signalled' : 'missed';
}
