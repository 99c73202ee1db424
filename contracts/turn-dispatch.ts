// How a gateway starts and cancels turn workflows, without knowing the client library.
import type { ConversationId, TurnId } from './ids.ts';
import type { TurnInput } from './turn-workflow.ts';

export interface TurnDispatch {
  /**
   * Starts the turn's workflow, or joins the one that runs under the same id.
   * @throws AppError WORKFLOW_UNAVAILABLE when the service does not take it within its time-out.
   */
  start(turn: TurnInput): Promise<void>;
  /** Asks the workflow to cancel; false when there is none, or it has ended. @throws AppError WORKFLOW_UNAVAILABLE */
  cancel(conversationId: ConversationId, turnId: TurnId): Promise<boolean>;
}
