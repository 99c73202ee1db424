// What an extraction reads of a conversation, and how it writes what it found: facts, their sources and the boundary in one
// transaction, so that doing it twice changes nothing.
import { factHash } from '../contracts/fact-text.ts';
import type { IdleConversation } from '../contracts/background-work.ts';
import { newFactId } from '../contracts/ids.ts';
import type { ConversationId, FactId, TurnId, UserId } from '../contracts/ids.ts';
import { advanceMemoryBoundary } from './memory-boundary.ts';
import { vectorParameter } from './memory-vectors.ts';
import { row, rows, transaction } from './pool.ts';
import type { Db, Pool } from './pool.ts';

export interface UnreadTurn {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly finishReason: string | null;
}

export interface UnreadTurns {
  /** Neither the user nor the conversation has memory switched off. */
  readonly isWanted: boolean;
  /** Behind the boundary, up to the last turn, oldest first; of all branches. Replies without their text. */
  readonly turns: readonly UnreadTurn[];
}

/** Null when the conversation is gone. @param limit of turns, the newest */
export async function unreadTurns(
  db: Db,
  { conversationId, userId, lastTurnId }: IdleConversation,
  limit: number,
): Promise<UnreadTurns | null> {
  const found = await row<{ is_wanted: boolean; turns: UnreadTurn[] | null }>(db, UNREAD, [
    conversationId,
    userId,
    lastTurnId,
    limit,
  ]);
  return found === null ? null : { isWanted: found.is_wanted, turns: found.turns ?? [] };
}

const UNREAD = `
  select c.memory_enabled and coalesce(s.memory_enabled, true) as is_wanted, (
    select json_agg(json_build_object('turnId', turn_id, 'parentTurnId', parent_turn_id, 'role', role,
      'content', case role when 'user' then content else '' end, 'finishReason', finish_reason) order by turn_id)
    from (
      select * from turns t
      where t.conversation_id = $1 and t.turn_id <= $3
        and t.turn_id > coalesce(c.memory_through_turn_id, '00000000-0000-0000-0000-000000000000')
      order by turn_id desc limit $4
    ) newest
  ) as turns
  from conversations c left join user_settings s using (user_id)
  where c.conversation_id = $1 and c.user_id = $2`;

export interface ExtractedFact {
  readonly text: string;
  readonly topic: string | null;
  readonly sourceTurnId: TurnId;
  readonly vector: Float32Array;
}

export interface StoredExtraction {
  /** False when the boundary was there already: nothing was written. */
  readonly hasMoved: boolean;
  readonly numNew: number;
  /** Said before, in the same words or nearly. */
  readonly numKnown: number;
}

/** Cosine from which two facts are one said twice, or one that has changed: measured, see docs/memory.md. */
export const SAME_FACT = 0.77;
/** A user has no more facts than this from extraction; what they add themselves is not counted against them. */
const MAX_EXTRACTED = 1000;

/** @param facts in the order in which they were said: later ones take the place of earlier ones. @param model made the vectors */
export async function storeExtraction(
  pool: Pool,
  { conversationId, userId, lastTurnId }: IdleConversation,
  facts: readonly ExtractedFact[],
  model: string,
): Promise<StoredExtraction> {
  return transaction(pool, async (client) => {
    // One at a time for a user, or two conversations might both add what is one fact.
    await rows(client, 'select pg_advisory_xact_lock(hashtextextended($1, 9))', [userId]);
    if (!(await advanceMemoryBoundary(client, conversationId, lastTurnId)))
      return { hasMoved: false, numNew: 0, numKnown: 0 };
    let numNew = 0;
    let numKnown = 0;
    for (const fact of facts) {
      const outcome = await storeFact(client, userId, conversationId, fact, model);
      if (outcome === 'new') numNew += 1;
      if (outcome === 'known') numKnown += 1;
    }
    return { hasMoved: true, numNew, numKnown };
  });
}

async function storeFact(
  client: Db,
  userId: UserId,
  conversationId: ConversationId,
  fact: ExtractedFact,
  model: string,
): Promise<'new' | 'known' | 'seen'> {
  const hash = factHash(userId, fact.text);
  const isFirst = await row(client, ADD_SOURCE, [userId, fact.sourceTurnId, conversationId, hash]);
  // This turn's statement was stored once, whatever became of it: kept, reworded, or removed by the user.
  if (isFirst === null) return 'seen';
  const equal = await row<{ fact_id: FactId }>(client, EQUAL, [userId, hash]);
  const factId = equal?.fact_id ?? newFactId();
  if (equal === null) {
    const vector = vectorParameter(fact.vector);
    const added = await row(client, ADD_FACT, [
      userId,
      factId,
      fact.text,
      vector,
      model,
      fact.topic,
      hash,
      fact.sourceTurnId,
      MAX_EXTRACTED,
    ]);
    if (added === null) return 'seen';
    await rows(client, SUPERSEDE, [userId, factId, vector, model, fact.topic, SAME_FACT]);
  }
  await rows(client, LINK_SOURCE, [userId, fact.sourceTurnId, hash, factId]);
  return equal === null ? 'new' : 'known';
}

const ADD_SOURCE = `
  insert into memory_sources (user_id, source_turn_id, conversation_id, text_hash) values ($1, $2, $3, $4)
  on conflict do nothing returning fact_id`;

const EQUAL = `
  select fact_id from user_memory where user_id = $1 and text_hash = $2 and superseded_by is null limit 1`;

const ADD_FACT = `
  insert into user_memory (user_id, fact_id, text, embedding, embedding_model, topic, text_hash, source_turn_id, created_at)
  select $1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp()
  where (select count(*) from user_memory where user_id = $1 and source_turn_id is not null) < $9
  returning fact_id`;

// Those that the old ones had hidden are hidden by the new one.
const SUPERSEDE = `
  with old as (
    select fact_id from user_memory
    where user_id = $1 and fact_id <> $2 and superseded_by is null
      and (topic = $5 or (embedding_model = $4 and 1 - (embedding <=> $3::vector) >= $6))
  )
  update user_memory set superseded_by = $2
  where user_id = $1 and (fact_id in (select fact_id from old) or superseded_by in (select fact_id from old))`;

const LINK_SOURCE = `
  update memory_sources set fact_id = $4 where user_id = $1 and source_turn_id = $2 and text_hash = $3`;
