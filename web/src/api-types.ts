// The public API's shapes as the page reads them.

export type FinishReason = 'stop' | 'length' | 'cancelled' | 'content_filter' | 'error';

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly cached_tokens: number;
  readonly cost_usd: number;
}

export interface Turn {
  readonly turn_id: string;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly parent_turn_id: string | null;
  readonly replaces_turn_id: string | null;
  readonly model: string | null;
  readonly served_model: string | null;
  readonly finish_reason: FinishReason | null;
  readonly usage: Usage | null;
  /** With `finish_reason` error. */
  readonly error?: { readonly code: string };
  /** Which of the replies of a turn with several it is. */
  readonly index?: number;
  readonly created_at: string;
}

export interface Conversation {
  readonly conversation_id: string;
  readonly title: string | null;
  readonly model: string;
  /** The reply that the conversation goes on from. */
  readonly active_turn_id: string | null;
  readonly last_turn_at: string;
}

export interface ConversationPage {
  readonly conversations: readonly Conversation[];
  readonly next_cursor: string | null;
}

export interface TurnPage {
  readonly conversation: Conversation;
  readonly turns: readonly Turn[];
  readonly next_cursor: string | null;
}

export interface Model {
  readonly id: string;
  readonly context_length: number;
  readonly reasoning: boolean;
}

export interface RememberedFact {
  readonly fact_id: string;
  readonly text: string;
}

/** Body of `PATCH …/memory`. */
export interface MemoryChange {
  readonly add?: readonly string[];
  readonly edit?: readonly RememberedFact[];
  readonly remove?: readonly string[];
}

export interface Settings {
  readonly memory_enabled: boolean;
}

/** Body of `POST …/turns`. */
export interface TurnRequest {
  readonly role: 'user';
  readonly content?: string;
  readonly parent_turn_id?: string;
  readonly edit_of?: string;
  readonly regenerate_of?: string;
  readonly model?: string;
}

/** What a turn's stream says, design §3. `id` is the log entry's number. */
export type TurnEvent =
  | { readonly type: 'open'; readonly data: OpenData }
  | { readonly type: 'token'; readonly data: { readonly index?: number; readonly text: string } }
  | { readonly type: 'retry'; readonly data: { readonly attempt: number } }
  | { readonly type: 'moderation'; readonly data: { readonly category: string } }
  | { readonly type: 'error'; readonly data: { readonly code: string; readonly message: string } }
  | { readonly type: 'done'; readonly data: DoneData };

export interface OpenData {
  readonly turn_id: string;
  readonly user_turn_id: string;
  readonly conversation_id: string;
  readonly model: string;
  readonly served_model: string;
  /** Of all replies, when there are several. */
  readonly turn_ids?: readonly string[];
  /** Remembered facts that the model was told. */
  readonly memory?: readonly string[];
}

export interface DoneData {
  readonly index?: number;
  readonly turn_id: string;
  readonly finish_reason: FinishReason;
  readonly usage: Usage;
}
