// A user's facts as the user sees and changes them. Every statement names the owner: what is not theirs is not there.
import { factHash } from '../contracts/fact-text.ts';
import { newFactId } from '../contracts/ids.ts';
import type { ConversationId, FactId, UserId } from '../contracts/ids.ts';
import { SAME_FACT } from './memory-extraction.ts';
import { vectorParameter } from './memory-vectors.ts';
import { row, rows, transaction } from './pool.ts';
import type { Db, Pool } from './pool.ts';

export interface StoredFact {
  readonly factId: FactId;
  readonly text: string;
  readonly createdAt: Date;
  /** When a turn was last told of it; null before. */
  readonly lastUsedAt: Date | null;
  /** Where it was said last; null for what the user added. */
  readonly conversationId: ConversationId | null;
}

/** Oldest first. Those that a newer wording hides are not among them. */
export async function listFacts(db: Db, userId: UserId): Promise<StoredFact[]> {
  const found = await rows<{
    fact_id: FactId;
    text: string;
    created_at: Date;
    last_used_at: Date | null;
    conversation_id: ConversationId | null;
  }>(db, LIST, [userId]);
  return found.map((each) => ({
    factId: each.fact_id,
    text: each.text,
    createdAt: each.created_at,
    lastUsedAt: each.last_used_at,
    conversationId: each.conversation_id,
  }));
}

const LIST = `
  select fact_id, text, created_at, last_used_at, (
    select conversation_id from memory_sources s where s.user_id = m.user_id and s.fact_id = m.fact_id
    order by source_turn_id desc limit 1
  ) as conversation_id
  from user_memory m where user_id = $1 and superseded_by is null order by created_at, fact_id`;

/** A text with its vector; without one it is kept and never recalled, until a job has made it. */
export interface WordedFact {
  readonly text: string;
  readonly vector: Float32Array | null;
}

export interface FactChanges {
  readonly add: readonly WordedFact[];
  readonly edit: readonly (WordedFact & { readonly factId: FactId })[];
  readonly remove: readonly FactId[];
}

/**
 * Removes, edits and adds in one transaction; absent ids are ignored, and what is there already is not added again. A fact that
 * was removed does not come back from the turns that it came from.
 * @param model made the vectors
 * @returns what is there afterwards
 */
export async function changeFacts(
  pool: Pool,
  userId: UserId,
  { add, edit, remove }: FactChanges,
  model: string | null,
): Promise<StoredFact[]> {
  return transaction(pool, async (client) => {
    await rows(client, 'select pg_advisory_xact_lock(hashtextextended($1, 9))', [userId]);
    if (remove.length > 0) await removeFacts(client, userId, remove);
    for (const fact of edit) await editFact(client, userId, fact, model);
    for (const fact of add) await addFact(client, userId, fact, model);
    return listFacts(client, userId);
  });
}

/** Everything that is remembered of a user, and nothing of it comes back from what was said so far. */
export async function removeAllFacts(db: Db, userId: UserId): Promise<void> {
  await rows(db, 'delete from user_memory where user_id = $1', [userId]);
}

/** With the older wordings that they had taken the place of: their sources become what keeps them away. */
async function removeFacts(db: Db, userId: UserId, facts: readonly FactId[]): Promise<void> {
  await rows(
    db,
    `delete from user_memory where user_id = $1 and (fact_id = any($2::uuid[]) or superseded_by = any($2::uuid[]))`,
    [userId, facts],
  );
}

async function editFact(
  db: Db,
  userId: UserId,
  { factId, text, vector }: FactChanges['edit'][number],
  model: string | null,
): Promise<void> {
  await rows(
    db,
    `update user_memory set text = $3, text_hash = $4, embedding = $5, embedding_model = $6, topic = null
     where user_id = $1 and fact_id = $2 and superseded_by is null`,
    [userId, factId, text, factHash(userId, text), ...stored(vector, model)],
  );
  // The user has said it better: earlier wordings are not to come back when this one goes.
  await rows(db, 'delete from user_memory where user_id = $1 and superseded_by = $2', [
    userId,
    factId,
  ]);
}

async function addFact(
  db: Db,
  userId: UserId,
  { text, vector }: WordedFact,
  model: string | null,
): Promise<void> {
  const hash = factHash(userId, text);
  const parameters = stored(vector, model);
  const known = await row(db, KNOWN, [userId, hash]);
  if (known !== null) return;
  const factId = newFactId();
  await rows(db, ADD, [userId, factId, text, hash, ...parameters]);
  if (vector !== null) await rows(db, HIDE_SAME, [userId, factId, ...parameters, SAME_FACT]);
}

const KNOWN = `
  select fact_id from user_memory where user_id = $1 and text_hash = $2 and superseded_by is null limit 1`;

const ADD = `
  insert into user_memory (user_id, fact_id, text, text_hash, embedding, embedding_model, created_at)
  values ($1, $2, $3, $4, $5, $6, clock_timestamp())`;

// The user's new words for what was extracted; what they added themselves stays, however alike.
const HIDE_SAME = `
  with old as (
    select fact_id from user_memory
    where user_id = $1 and fact_id <> $2 and superseded_by is null and source_turn_id is not null
      and embedding_model = $4 and 1 - (embedding <=> $3::vector) >= $5
  )
  update user_memory set superseded_by = $2
  where user_id = $1 and (fact_id in (select fact_id from old) or superseded_by in (select fact_id from old))`;

function stored(vector: Float32Array | null, model: string | null): [string | null, string | null] {
  return vector === null ? [null, null] : [vectorParameter(vector), model];
}
