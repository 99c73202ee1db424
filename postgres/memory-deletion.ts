// What goes from a user's memory when a conversation goes, or its oldest turns: facts that were said nowhere else, and what keeps them away.
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { rows } from './pool.ts';
import type { Db } from './pool.ts';

/**
 * To be run in the transaction that deletes the conversation, before its row goes. A fact that another conversation has told
 * as well stays; of wordings that a fact had hidden the newest comes back when the fact goes.
 * @param before only what was said in turns before this one; null = in any
 * @returns facts that went
 */
export async function forgetConversation(
  db: Db,
  userId: UserId,
  conversationId: ConversationId,
  before: TurnId | null = null,
): Promise<number> {
  // As an extraction does: what it stores of this conversation is either seen here, or not stored at all.
  await rows(db, 'select pg_advisory_xact_lock(hashtextextended($1, 9))', [userId]);
  await rows(
    db,
    'select 1 from conversations where conversation_id = $1 and user_id = $2 for update',
    [conversationId, userId],
  );
  const gone = await rows<{ fact_id: string | null }>(
    db,
    `delete from memory_sources where user_id = $1 and conversation_id = $2
       and ($3::uuid is null or source_turn_id < $3) returning fact_id`,
    [userId, conversationId, before],
  );
  const facts = gone.flatMap(({ fact_id: factId }) => (factId === null ? [] : [factId]));
  if (facts.length === 0) return 0;
  await rows(db, SOURCE_ANEW, [userId, facts]);
  await rows(db, BRING_BACK, [userId, facts]);
  const doomed = await rows(db, `delete from user_memory m where ${IS_DOOMED} returning fact_id`, [
    userId,
    facts,
  ]);
  return doomed.length;
}

/** Nobody has said it any more. */
const IS_DOOMED = `m.user_id = $1 and m.fact_id = any($2::uuid[]) and m.source_turn_id is not null
  and not exists (select 1 from memory_sources s where s.user_id = m.user_id and s.fact_id = m.fact_id)`;

const SOURCE_ANEW = `
  update user_memory m set source_turn_id = s.source_turn_id
  from (select fact_id, max(source_turn_id::text)::uuid as source_turn_id from memory_sources
        where user_id = $1 and fact_id = any($2::uuid[]) group by fact_id) s
  where m.user_id = $1 and m.fact_id = s.fact_id and m.source_turn_id is not null`;

// A hidden fact names what hides it now, never what did earlier: so the newest of those behind a doomed one is its heir.
const BRING_BACK = `
  with doomed as (select fact_id from user_memory m where ${IS_DOOMED}),
  heirs as (
    select distinct on (superseded_by) superseded_by as doomed, fact_id as heir from user_memory
    where user_id = $1 and superseded_by in (select fact_id from doomed)
      and fact_id not in (select fact_id from doomed)
    order by superseded_by, created_at desc, fact_id
  )
  update user_memory m set superseded_by = case when m.fact_id = h.heir then null else h.heir end
  from heirs h where m.user_id = $1 and m.superseded_by = h.doomed`;
