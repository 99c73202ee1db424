// How long turns are kept: an organisation's own number of days, else the tier's. What is older goes, a conversation at a time.
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import type { Tier } from '../contracts/turn-facts.ts';
import { forgetConversation } from './memory-deletion.ts';
import { CONVERSATION_TABLES } from './owned-tables.ts';
import { row, rows, transaction } from './pool.ts';
import type { Db, Pool } from './pool.ts';

/** Days by tier; null = for ever. From the catalogue. */
export type TierDays = Readonly<Record<Tier, number | null>>;

export interface UserHorizon {
  readonly userId: UserId;
  readonly days: number;
}

// 0 days is how an organisation says «for ever».
const HORIZONS = `
  select u.user_id, nullif(coalesce(o.retention_days, ($1::jsonb ->> u.tier)::integer), 0) as days
  from users u join organisations o using (org_id)`;

/** Users whose turns expire, in order of id, from `after` on. */
export async function usersWithHorizon(
  directory: Db,
  tierDays: TierDays,
  after: UserId | null,
  limit: number,
): Promise<UserHorizon[]> {
  const found = await rows<{ user_id: UserId; days: number }>(
    directory,
    `select user_id, days from (${HORIZONS} where $2::uuid is null or u.user_id > $2) each
     where days is not null order by user_id limit $3`,
    [JSON.stringify(tierDays), after, limit],
  );
  return found.map((each) => ({ userId: each.user_id, days: each.days }));
}

/** The longest that anybody's turns are kept; null when somebody's are kept for ever, or nobody is there. */
export async function longestHorizon(directory: Db, tierDays: TierDays): Promise<number | null> {
  const found = await row<{ days: number | null }>(
    directory,
    `select case when bool_and(days is not null) then max(days) end as days from (${HORIZONS}) each`,
    [JSON.stringify(tierDays)],
  );
  return found?.days ?? null;
}

export interface ExpiredConversation {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly days: number;
  /** Nobody has written since the horizon: it goes as a whole. */
  readonly isIdle: boolean;
}

/** Conversations with anything older than their owner's horizon, in order of id, from `after` on. */
export async function expiredConversations(
  db: Db,
  horizons: readonly UserHorizon[],
  after: ConversationId | null,
  limit: number,
): Promise<ExpiredConversation[]> {
  const found = await rows<{
    conversation_id: ConversationId;
    user_id: UserId;
    days: number;
    is_idle: boolean;
  }>(db, EXPIRED, [
    horizons.map((each) => each.userId),
    horizons.map((each) => each.days),
    after,
    limit,
  ]);
  return found.map((each) => ({
    conversationId: each.conversation_id,
    userId: each.user_id,
    days: each.days,
    isIdle: each.is_idle,
  }));
}

const EXPIRED = `
  select c.conversation_id, c.user_id, h.days, c.last_turn_at < h.horizon as is_idle
  from (select user_id, days, now() - make_interval(days => days) as horizon
        from unnest($1::uuid[], $2::integer[]) given(user_id, days)) h
  join conversations c using (user_id)
  where c.created_at < h.horizon and serves_owner(c.user_id) and ($3::uuid is null or c.conversation_id > $3)
    and (c.last_turn_at < h.horizon or exists (
      select from turns t where t.conversation_id = c.conversation_id and t.turn_id < uuidv7_floor(h.horizon)))
    and not exists (select from turn_requests r where r.conversation_id = c.conversation_id and r.ended_at is null)
  order by c.conversation_id limit $4`;

/**
 * Deletes a conversation's turns that are older than `days`, what was asked to get them, what was learnt from them, and all
 * that is derived from its turns; a title stays until the conversation goes.
 * @returns turns that went
 */
export async function trimConversation(
  pool: Pool,
  { userId, conversationId, days }: ExpiredConversation,
): Promise<number> {
  return transaction(pool, async (client) => {
    const floor = await row<{ floor: TurnId }>(
      client,
      `update conversations set version = version + 1, summary = null, summary_through_turn_id = null
       where conversation_id = $1 and user_id = $2
       returning uuidv7_floor(now() - make_interval(days => $3)) as floor`,
      [conversationId, userId, days],
    );
    if (floor === null) return 0;
    await forgetConversation(client, userId, conversationId, floor.floor);
    const turns = await row<{ n: number }>(
      client,
      `with gone as (delete from turns where conversation_id = $1 and turn_id < $2 returning 1)
       select count(*) as n from gone`,
      [conversationId, floor.floor],
    );
    await rows(
      client,
      'delete from turn_requests where conversation_id = $1 and turn_id < $2 and ended_at is not null',
      [conversationId, floor.floor],
    );
    for (const { table } of CONVERSATION_TABLES.filter(({ isDerived }) => isDerived))
      await rows(client, `delete from ${table} where conversation_id = $1`, [conversationId]);
    return turns?.n ?? 0;
  });
}
