// Input, results and names of the turn workflow. Ids and small facts only: no text ever enters a history. Types and
// constants without dependencies, so that workflow code may import them.
import type { Continuation } from './engine.ts';
import type { ConversationId, OrgId, TurnId, UserId } from './ids.ts';
import type { FinishReason, ModerationVerdict, Tier, TokenUsage } from './turn-facts.ts';

export const TURN_WORKFLOW = 'turn';
export const TURN_TASK_QUEUE = 'turns';
export const BACKGROUND_TASK_QUEUE = 'background';

export function turnWorkflowId(conversationId: ConversationId, turnId: TurnId): string {
  return `turn/${conversationId}/${turnId}`;
}

export interface TurnInput {
  readonly turnId: TurnId;
  readonly userTurnId: TurnId;
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly tier: Tier;
  readonly model: string;
  readonly pool: string;
  /** The request asked for a reasoning model. */
  readonly reasoning: boolean;
  /** Replies to make; 1 when left out. */
  readonly numSamples?: number;
}

export interface Authorization {
  readonly orgId: OrgId;
  readonly tier: Tier;
}

export interface HistoryFacts {
  readonly isFirstTurn: boolean;
  readonly contentChars: number;
}

/** Where a turn is generated, and why: the reason is what an operator reads in Temporal's UI. */
export interface RouteDecision {
  readonly pool: string;
  readonly taskQueue: string;
  readonly model: string;
  readonly servedModel: string;
  /** 1 first … 5 last. */
  readonly priority: number;
  readonly reason: string;
}

/** `isCancelled`: a cancel came before the workflow could be signalled, so the log alone knows of it. */
export type RoutedTurn = RouteDecision & { readonly isCancelled: boolean };

export interface GenerateInput {
  readonly turnId: TurnId;
  readonly userTurnId: TurnId;
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly model: string;
  readonly pool: string;
  readonly priority: number;
  /** Counts how often the workflow has asked for this turn; with Temporal's attempt it makes the epoch. */
  readonly dispatch: number;
  /**
   * Set when the turn was generated before and Redis lost its log: the last entry's number then. Readers may have all of
   * it, so what they get again must have higher ones.
   */
  readonly lostEntries?: number;
}

export interface GenerateResult {
  readonly finishReason: FinishReason;
  readonly usage: TokenUsage;
  /** Number of the last entry this attempt knows of. */
  readonly lastEntry: number;
  readonly numAttempts: number;
  /** How the reply went on after it was cut; null when it was not. */
  readonly continuation: Continuation | null;
}

export interface PersistInput {
  readonly turn: TurnInput;
  readonly route: { readonly model: string; readonly servedModel: string; readonly pool: string };
  readonly finishReason: FinishReason;
  readonly errorCode: string | null;
  readonly verdict: ModerationVerdict | null;
  /** Null when no generation returned (it failed or was never asked): the log's tokens are counted instead. */
  readonly usage: TokenUsage | null;
  /** The last entry that the generation knows of; left out when none returned. A log without it is not the whole one. */
  readonly lastEntry?: number;
}

export interface PersistResult {
  readonly finishReason: FinishReason;
  readonly usage: TokenUsage;
  readonly costUsd: number;
}

/** Answer to the query `progress`. */
export interface TurnProgress {
  readonly stage: TurnStage;
  readonly isCancelRequested: boolean;
  readonly dispatch: number;
}

export type TurnStage = 'prepare' | 'generate' | 'persistTurn' | 'settle' | 'ended';
