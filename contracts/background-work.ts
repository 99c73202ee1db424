// What the background worker's workflows carry: ids and counts.
import type { ConversationId, TurnId, UserId } from './ids.ts';

/** A conversation nobody has written to for a while, with turns that memory extraction has not seen. */
export interface IdleConversation {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly lastTurnId: TurnId;
}

/** What one maintenance run did. */
export interface MaintenanceReport {
  /** Accepted turns that had no running workflow: started, or closed with an error. */
  readonly turnsStarted: number;
  readonly turnsClosed: number;
}
