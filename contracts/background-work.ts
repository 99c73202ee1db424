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

/** A conversation whose turns behind its last summary may have become too many to be shown word for word. */
export interface UnsummarisedConversation {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly lastTurnId: TurnId;
  readonly model: string;
}

/** One summary to be made by a pool: of turns (level 0), or of the summaries one level below. */
export interface SummaryTask {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  /** Of the pool that makes it. */
  readonly taskQueue: string;
  readonly level: number;
  readonly parentTurnId: TurnId | null;
  readonly firstTurnId: TurnId;
  readonly lastTurnId: TurnId;
  /** Where the summaries that it is made of end; empty at level 0. */
  readonly childLastTurnIds: readonly TurnId[];
}

/** What a conversation lacks now, in the order in which it is to be made. */
export interface SummaryWork {
  readonly tasks: readonly SummaryTask[];
  /** Everything up to here is told once all of them are there; null when there is nothing to do. */
  readonly through: TurnId | null;
}

/** What one maintenance run did. */
export interface MaintenanceReport {
  /** Accepted turns that had no running workflow: started, or closed with an error. */
  readonly turnsStarted: number;
  readonly turnsClosed: number;
}
