// Cancel by both paths: the log tells the worker within milliseconds, the workflow's signal is durable.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { TurnDispatch } from '../contracts/turn-dispatch.ts';
import type { TurnLogWriter } from '../contracts/turn-log.ts';

export interface CancelDeps {
  readonly turnLog: TurnLogWriter;
  readonly dispatch: TurnDispatch;
}

/**
 * The quick path may fail when the durable one does not, and the other way round; only both failing is a failure.
 * @returns whether the turn's log was still running
 * @throws AppError WORKFLOW_UNAVAILABLE when neither path works
 */
export async function cancelTurn(
  { turnLog, dispatch }: CancelDeps,
  conversationId: ConversationId,
  turnId: TurnId,
): Promise<boolean> {
  const [quick, durable] = await Promise.allSettled([
    turnLog.cancel(turnId),
    dispatch.cancel(conversationId, turnId),
  ]);
  if (quick.status === 'rejected' && durable.status === 'rejected') throw durable.reason;
  return quick.status === 'fulfilled' ? quick.value : true;
}
