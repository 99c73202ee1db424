// The newest turns of a conversation, from the hot cache when it has them, else from the store, which then fills it: one
// reader loads, the others wait a moment for what it puts. Whatever the cache does, the answer is what the store would say.
import type { CachedTurns, ConversationCache } from '../contracts/conversation-cache.ts';
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import { historyPage } from '../postgres/history.ts';
import type { HistoryPage } from '../postgres/history.ts';
import type { Db } from '../postgres/pool.ts';
import type { Metrics } from '../process/metrics.ts';
import { singleFlight } from './single-flight.ts';

export interface AskedTurns {
  readonly conversationId: ConversationId;
  /** As the conversation's row says that the caller has just read from `db`. */
  readonly version: number;
  readonly lastTurnId: TurnId | null;
  /** The newest turn that is wanted; null for the conversation's newest. */
  readonly upTo: TurnId | null;
  readonly limit: number;
}

/**
 * At most `limit` turns up to `upTo`, in order of their ids, of all branches, and whether there are older ones.
 * @throws AppError what the store throws
 */
export type RecentTurns = (db: Db, asked: AskedTurns) => Promise<HistoryPage>;

interface RecentTurnsDeps {
  readonly cache: ConversationCache;
  readonly metrics: Pick<Metrics, 'conversationCache'>;
  /** Turns that are cached of a conversation. */
  readonly cachedTurns: number;
}

/** Waits for what another reader loads, ms; a page takes a few. After the last one the caller loads it too. */
const WAITS_MS = [2, 3, 5, 8, 12, 20, 30];

export function createRecentTurns({ cache, metrics, cachedTurns }: RecentTurnsDeps): RecentTurns {
  const load = async (
    db: Db,
    { conversationId, version, lastTurnId }: AskedTurns,
  ): Promise<CachedTurns> => {
    const page = await historyPage(db, conversationId, lastTurnId, null, cachedTurns);
    return { version, turns: page.turns, isComplete: !page.hasMore };
  };
  const count = (outcome: 'hit' | 'stale' | 'miss' | 'error'): void =>
    metrics.conversationCache.inc({ outcome });

  const find = async (db: Db, asked: AskedTurns): Promise<CachedTurns> => {
    const { conversationId, version } = asked;
    let read = await cache.get(conversationId, version).catch(() => null);
    count(read?.kind ?? 'error');
    for (const ms of WAITS_MS) {
      if (read === null || read.kind === 'hit' || read.lease !== 'taken') break;
      await new Promise((resolve) => setTimeout(resolve, ms));
      read = await cache.get(conversationId, version).catch(() => null);
    }
    if (read?.kind === 'hit') return read.entry;
    const loaded = await load(db, asked);
    const lease = read?.lease ?? null;
    // Not awaited: the reader has what was asked for.
    if (lease !== null && lease !== 'taken')
      void cache.put(conversationId, lease, loaded).catch(() => false);
    return loaded;
  };
  const findOnce = singleFlight(
    ({ db, asked }: { db: Db; asked: AskedTurns }) => find(db, asked),
    ({ asked }) => `${asked.conversationId} ${asked.version}`,
  );

  return async (db, asked) => {
    const { conversationId, lastTurnId, upTo, limit } = asked;
    const page = async (): Promise<HistoryPage> =>
      historyPage(db, conversationId, lastTurnId, upTo === null ? null : { upTo }, limit);
    // More than is ever cached: no use to ask.
    if (limit > cachedTurns) return page();
    const found = await findOnce({ db, asked });
    const turns = found.turns.filter(({ turnId }) => upTo === null || turnId <= upTo);
    if (turns.length < limit && !found.isComplete) return page();
    return {
      turns: turns.slice(-limit),
      hasMore: turns.length > limit || !found.isComplete,
    };
  };
}
