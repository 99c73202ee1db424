// What a prompt is made of, before any of it is text for a model. Pure types.
import type { ChatMessage } from '../contracts/engine.ts';
import type { FactId, TurnId } from '../contracts/ids.ts';

/** One turn of the branch. */
export interface PromptTurn {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  /** As stored; by the tokenizer of the model that served it. Null where nobody counted. */
  readonly tokenCount: number | null;
}

/** A summary that stands for a path of turns, or of summaries. */
export interface SummaryNode {
  readonly nodeId: string;
  /** 0: of turns. */
  readonly level: number;
  /** The turn before the first; null at the root. */
  readonly parentTurnId: TurnId | null;
  readonly firstTurnId: TurnId;
  readonly lastTurnId: TurnId;
  readonly text: string;
}

/** Something the user is known by. */
export interface PromptFact {
  readonly factId: FactId;
  readonly text: string;
  /** When it was learnt, YYYY-MM-DD in UTC: a finer time would only make equal prompts differ. */
  readonly day: string;
}

export type PromptPart =
  | { readonly kind: 'system'; readonly text: string }
  | { readonly kind: 'summary'; readonly node: SummaryNode }
  | { readonly kind: 'fact'; readonly fact: PromptFact }
  | { readonly kind: 'turn'; readonly turnId: TurnId; readonly text: string };

/** One message to the model and what it was made of, in order. */
export interface PromptMessage extends ChatMessage {
  readonly parts: readonly PromptPart[];
}
