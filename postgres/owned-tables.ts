// Every table with rows of a user, and how its rows go. A test compares this with the schema, so that no table is forgotten.

/**
 * Rows of one conversation, by `conversation_id`. What is derived is made again from what is left when a conversation loses
 * its oldest turns, so it goes then too.
 */
export const CONVERSATION_TABLES = Object.freeze([
  { table: 'turns', isDerived: false, hasUser: true },
  { table: 'turn_requests', isDerived: false, hasUser: true },
  { table: 'memory_sources', isDerived: false, hasUser: true },
  { table: 'conversation_summaries', isDerived: true, hasUser: false },
] as readonly OwnedTable[]);

interface OwnedTable {
  readonly table: string;
  readonly isDerived: boolean;
  /** Has a `user_id` too. */
  readonly hasUser: boolean;
}

/** Rows of a user beside their conversations, by `user_id`. */
export const USER_TABLES = Object.freeze(['user_memory', 'user_settings'] as const);

/** In the directory: who may call. Keys go first. */
export const ACCOUNT_TABLES = Object.freeze(['api_keys', 'users'] as const);

/** Kept for the books, without whose they were: `user_id` and `conversation_id` become a pseudonym. There is no text in it. */
export const UNLINKED_TABLES = Object.freeze(['ledger'] as const);
