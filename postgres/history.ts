// Pages of a conversation's turns. A page asks only the months in which it can lie: below the last turn's, above the
// conversation's own.
import { firstTurnIdOf } from '../contracts/ids.ts';
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { ShownTurn } from '../contracts/shown-turn.ts';
import { plannedRows } from './pool.ts';
import type { Db } from './pool.ts';
import { SHOWN_COLUMNS, toShownTurn } from './shown-turns.ts';
import type { ShownTurnRow } from './shown-turns.ts';

/** Above every UUIDv7. */
const NEWEST = 'ffffffff-ffff-7fff-bfff-ffffffffffff' as TurnId;

export interface HistoryPage {
  /** In order. */
  readonly turns: readonly ShownTurn[];
  /** There are older ones. */
  readonly hasMore: boolean;
}

/** Where a page ends: before a turn, or with it; null for the conversation's newest page. */
export type PageEnd = { readonly before: TurnId } | { readonly upTo: TurnId } | null;

/**
 * The newest `limit` turns up to `end`.
 * @param lastTurnId the conversation's newest turn, if its row says
 */
export async function historyPage(
  db: Db,
  conversationId: ConversationId,
  lastTurnId: TurnId | null,
  end: PageEnd,
  limit: number,
): Promise<HistoryPage> {
  const isBefore = end !== null && 'before' in end;
  const found = await plannedRows<ShownTurnRow>(db, isBefore ? PAGE_BEFORE : PAGE_UP_TO, [
    conversationId,
    firstTurnIdOf(conversationId),
    lastOf(end, lastTurnId ?? NEWEST),
    // One more tells whether there is another page.
    limit + 1,
  ]);
  const turns = found.slice(0, limit).reverse().map(toShownTurn);
  return { turns, hasMore: found.length > limit };
}

function lastOf(end: PageEnd, newest: TurnId): TurnId {
  if (end === null) return newest;
  return 'before' in end ? end.before : end.upTo;
}

const page = (upper: '<' | '<='): string => `select ${SHOWN_COLUMNS} from turns
  where conversation_id = $1 and turn_id >= $2 and turn_id ${upper} $3 order by turn_id desc limit $4`;
const PAGE_BEFORE = page('<');
const PAGE_UP_TO = page('<=');

/** Links of every turn from `first` on, in order: the part of the tree in which the branches above it lie. */
export async function turnLinks(
  db: Db,
  conversationId: ConversationId,
  first: TurnId,
): Promise<TurnLink[]> {
  const found = await plannedRows<
    Pick<ShownTurnRow, 'turn_id' | 'parent_turn_id' | 'role' | 'sample_index'>
  >(
    db,
    `select turn_id, parent_turn_id, role, sample_index from turns
     where conversation_id = $1 and turn_id >= $2 order by turn_id`,
    [conversationId, first],
  );
  return found.map((each) => ({
    turnId: each.turn_id,
    parentTurnId: each.parent_turn_id,
    role: each.role,
    sampleIndex: each.sample_index,
  }));
}

export type TurnLink = Pick<ShownTurn, 'turnId' | 'parentTurnId' | 'role' | 'sampleIndex'>;
