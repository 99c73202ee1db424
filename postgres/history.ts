// Pages of a conversation's turns.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import { turnsUpTo } from './turns.ts';
import type { StoredTurn } from './turns.ts';
import type { Db } from './pool.ts';

/** Above every UUIDv7. */
const NEWEST = 'ffffffff-ffff-7fff-bfff-ffffffffffff' as TurnId;

export interface HistoryPage {
  /** In order. */
  readonly turns: readonly StoredTurn[];
  /** There are older ones. */
  readonly hasMore: boolean;
}

/** The newest `limit` turns older than `before` (or of all). */
export async function historyPage(
  db: Db,
  conversationId: ConversationId,
  before: TurnId | null,
  limit: number,
): Promise<HistoryPage> {
  // One more tells whether there is another page; `before` itself is read too and left out.
  const upTo = await turnsUpTo(
    db,
    conversationId,
    before ?? NEWEST,
    limit + (before === null ? 1 : 2),
  );
  const older = upTo.filter((turn) => turn.turnId !== before);
  return { turns: older.slice(-limit), hasMore: older.length > limit };
}
