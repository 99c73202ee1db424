// Stored turns without a token count, walked through month by month so that a statement touches one partition. Their place
// is `<month>/<conversation>/<turn>`.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { JobWindow } from './job-facts.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

/** Sorts before every id. */
const NIL = '00000000-0000-0000-0000-000000000000';

export interface UncountedTurn {
  readonly place: string;
  readonly conversationId: ConversationId;
  readonly turnId: TurnId;
  readonly content: string;
  /** The turn's own; of a user's message its conversation's. */
  readonly model: string;
  readonly pool: string | null;
}

export interface CountedTurn {
  readonly conversationId: ConversationId;
  readonly turnId: TurnId;
  readonly numTokens: number;
}

/** The months that have a partition, `YYYY-MM` in UTC, oldest first. */
export async function turnMonths(db: Db): Promise<string[]> {
  const found = await rows<{ month: string }>(
    db,
    `select replace(right(c.relname, 7), '_', '-') as month
     from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'turns'::regclass and c.relname ~ '^turns_[0-9]{4}_[0-9]{2}$' order by month`,
  );
  return found.map(({ month }) => month);
}

/** Looks at `maxRows` turns of a month behind a place for at most `limit` that have no count. */
export async function uncountedWindow(
  db: Db,
  month: string,
  after: string | null,
  maxRows: number,
  limit: number,
): Promise<JobWindow> {
  const found = await row<{ count: number; through: string | null }>(
    db,
    `with scanned as (
       select conversation_id, turn_id, token_count is null and serves_owner(user_id) as is_uncounted from turns
       where turn_id >= uuidv7_floor($1::timestamptz) and turn_id < uuidv7_floor($2::timestamptz)
         and (conversation_id, turn_id) > ($3::uuid, $4::uuid)
       order by conversation_id, turn_id limit $5
     ), uncounted as (
       select conversation_id, turn_id from scanned where is_uncounted order by conversation_id, turn_id limit $6
     ), counted as (
       select count(*) as count from uncounted
     ), last as (
       (select conversation_id, turn_id from uncounted, counted where counted.count = $6
        order by conversation_id desc, turn_id desc limit 1)
       union all
       (select conversation_id, turn_id from scanned, counted where counted.count < $6
        order by conversation_id desc, turn_id desc limit 1)
     )
     select counted.count, $7 || '/' || conversation_id || '/' || turn_id as through
     from counted left join last on true`,
    [...boundsOf(month), ...keysOf(after), maxRows, limit, month],
  );
  return found ?? { count: 0, through: null };
}

/** The first `limit` of them between two places of a month, the second included. */
export async function uncountedTurns(
  db: Db,
  month: string,
  after: string | null,
  through: string,
  limit: number,
): Promise<UncountedTurn[]> {
  const found = await rows<{
    conversation_id: ConversationId;
    turn_id: TurnId;
    content: string;
    model: string;
    pool: string | null;
  }>(
    db,
    `select t.conversation_id, t.turn_id, t.content, coalesce(t.model, c.model) as model, t.pool
     from turns t join conversations c using (conversation_id)
     where t.turn_id >= uuidv7_floor($1::timestamptz) and t.turn_id < uuidv7_floor($2::timestamptz)
       and (t.conversation_id, t.turn_id) > ($3::uuid, $4::uuid)
       and (t.conversation_id, t.turn_id) <= ($5::uuid, $6::uuid)
       and t.token_count is null and serves_owner(t.user_id)
     order by t.conversation_id, t.turn_id limit $7`,
    [...boundsOf(month), ...keysOf(after), ...keysOf(through), limit],
  );
  return found.map(({ conversation_id: conversationId, turn_id: turnId, ...rest }) => ({
    place: `${month}/${conversationId}/${turnId}`,
    conversationId,
    turnId,
    ...rest,
  }));
}

/** Stores counts where there are still none. */
export async function storeTokenCounts(
  db: Db,
  month: string,
  turns: readonly CountedTurn[],
): Promise<void> {
  await rows(
    db,
    `update turns t set token_count = v.token_count
     from unnest($3::uuid[], $4::uuid[], $5::integer[]) as v(conversation_id, turn_id, token_count)
     where t.turn_id >= uuidv7_floor($1::timestamptz) and t.turn_id < uuidv7_floor($2::timestamptz)
       and t.conversation_id = v.conversation_id and t.turn_id = v.turn_id and t.token_count is null`,
    [
      ...boundsOf(month),
      turns.map(({ conversationId }) => conversationId),
      turns.map(({ turnId }) => turnId),
      turns.map(({ numTokens }) => numTokens),
    ],
  );
}

/** The month's beginning and the next one's. */
function boundsOf(month: string): [from: string, to: string] {
  const from = new Date(`${month}-01T00:00:00Z`);
  const to = new Date(from);
  to.setUTCMonth(to.getUTCMonth() + 1);
  return [from.toISOString(), to.toISOString()];
}

function keysOf(place: string | null): [conversation: string, turn: string] {
  const [, conversation = NIL, turn = NIL] = place?.split('/') ?? [];
  return [conversation, turn];
}
