// The hot cache: the newest turns of conversations that are being used, beside the store. It may forget anything at any
// time; what it answers is never older than the version that the caller has just read from the conversation's row.
// Implementations: redis/ and the in-memory twin; test/contract runs one suite on both. Decision 0018.
import type { ConversationId } from './ids.ts';
import type { ShownTurn } from './shown-turn.ts';

export interface CachedTurns {
  /** Of the conversation's row when they were read, or later. */
  readonly version: number;
  /** The newest ones, in order of their ids, of all branches. */
  readonly turns: readonly ShownTurn[];
  /** There are no older ones. */
  readonly isComplete: boolean;
}

export type CacheRead =
  | { readonly kind: 'hit'; readonly entry: CachedTurns }
  | {
      /** An older version is there, or nothing. */
      readonly kind: 'stale' | 'miss';
      /**
       * What to do about it: a token to put() with; `taken` when somebody else loads it, so that it will be there in a
       * moment; null when nobody may put it.
       */
      readonly lease: string | 'taken' | null;
    };

export interface ConversationCache {
  /** Finds an entry of at least `version`, and keeps it for longer; of those who do not, one gets the lease. */
  get(conversationId: ConversationId, version: number): Promise<CacheRead>;
  /**
   * Replaces the entry by what the lease's holder has read. False when the lease is no longer theirs, a newer version is
   * there, or the conversation was removed meanwhile.
   */
  put(conversationId: ConversationId, lease: string, entry: CachedTurns): Promise<boolean>;
  /** Makes the entry of `version` from that of the version before it. False when that is not there. */
  append(
    conversationId: ConversationId,
    version: number,
    turns: readonly ShownTurn[],
  ): Promise<boolean>;
  /** Removes the entry, and for an hour lets nobody put it again who had read it before. */
  remove(conversationId: ConversationId): Promise<void>;
}

/** A cached turn is JSON. */
export function encodeTurn(turn: ShownTurn): string {
  return JSON.stringify(turn);
}

export function decodeTurn(text: string): ShownTurn {
  const turn = JSON.parse(text) as Omit<ShownTurn, 'createdAt'> & { createdAt: string };
  return { ...turn, createdAt: new Date(turn.createdAt) };
}
