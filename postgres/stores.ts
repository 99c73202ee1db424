// Which database holds whose rows. All of an owner's rows (conversations, turns, requests, ledger, memory) are in one place,
// so that a turn is one transaction; organisations, users and keys are in the directory.
import type { ConversationId, UserId } from '../contracts/ids.ts';
import { impatient } from './pool.ts';
import type { Db, Pool } from './pool.ts';

export interface Stores {
  /** Organisations, users, keys. */
  readonly directory: Pool;
  /** Every database that holds owners' rows: a sweep visits each. */
  readonly primaries: readonly Pool[];
  /** Where an owner's rows are written, and read by whoever is about to write. */
  primaryOf(userId: UserId): Pool;
  /**
   * Where an owner's rows may be read for show: never behind what this service has acknowledged.
   * @param conversationId what is read; null for a list over all of the owner's
   */
  readerOf(userId: UserId, conversationId: ConversationId | null): Promise<Db>;
  /**
   * An owner's rows were changed by other means than primaryOf()'s pool, or by somebody who may have died before others
   * could know of it. Resolves when no reader can miss the change.
   * @throws AppError STORAGE_UNAVAILABLE when it is not to be acknowledged
   */
  wrote(userId: UserId): Promise<void>;
  end(): Promise<void>;
}

/** Everything in one database. The pool is the stores' to end. */
export function singleStore(pool: Pool): Stores {
  return {
    directory: pool,
    primaries: [pool],
    primaryOf: () => pool,
    readerOf: async () => pool,
    wrote: async () => undefined,
    end: () => pool.end(),
  };
}

/** The same stores for callers who would rather be refused than wait. See impatient(). */
export function impatientStores(
  stores: Stores,
  answerMs: number,
  onEnd?: (isAnswered: boolean) => void,
): Stores {
  // Weakly: pools of an owner, readers and walled pools live as long as their caller needs them.
  const wrapped = new WeakMap<Pool, Pool>();
  const wrap = (pool: Pool): Pool => {
    const known = wrapped.get(pool) ?? impatient(pool, answerMs, onEnd);
    wrapped.set(pool, known);
    return known;
  };
  return {
    directory: wrap(stores.directory),
    get primaries() {
      return stores.primaries.map(wrap);
    },
    primaryOf: (userId) => wrap(stores.primaryOf(userId)),
    readerOf: async (userId, conversationId) =>
      wrap((await stores.readerOf(userId, conversationId)) as Pool),
    wrote: (userId) => stores.wrote(userId),
    end: () => stores.end(),
  };
}
