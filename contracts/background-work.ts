// What the background worker's workflows carry: ids and counts.
import type { ConversationId, TurnId, UserId } from './ids.ts';

/** A conversation nobody has written to for a while, with turns that memory extraction has not seen. */
export interface IdleConversation {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly lastTurnId: TurnId;
  /** Queue of the pool whose model judges what is found. */
  readonly taskQueue: string;
}

/** What one extraction did: counts, no text. */
export interface ExtractionReport {
  /** User turns that were read. */
  readonly numTurns: number;
  /** Sentences that the rules took for facts. */
  readonly numCandidates: number;
  /** Of those, what is never kept. */
  readonly numRefused: number;
  /** … and what the model took for passing. */
  readonly numJudgedOut: number;
  readonly numNew: number;
  readonly numKnown: number;
}

/** What one maintenance run did. */
export interface MaintenanceReport {
  readonly partitionsMade: number;
  /** Accepted turns that had no running workflow: started, or closed with an error. */
  readonly turnsStarted: number;
  readonly turnsClosed: number;
}
