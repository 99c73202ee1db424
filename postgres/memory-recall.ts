// Which of a user's facts belong to a message: an exact scan of that user's own, nobody else's is ever looked at.
import type { ConversationId, FactId, TurnId, UserId } from '../contracts/ids.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';
import { vectorParameter } from './memory-vectors.ts';

export interface RecallQuery {
  readonly userId: UserId;
  /** Of the message, of length 1. */
  readonly vector: Float32Array;
  /** What made it: vectors of other models are passed over. */
  readonly model: string;
}

export interface RecalledFact {
  readonly factId: FactId;
  readonly similarity: number;
}

/** Facts shown to a turn at most. */
export const MAX_RECALLED = 5;
/** Cosine below which a fact has nothing to do with a message: measured, see docs/memory.md. */
export const LEAST_SIMILARITY = 0.25;
/** A fact that was learnt or used just now is worth this much cosine more than an old one; it halves in RECENCY_DAYS. */
const RECENCY_WEIGHT = 0.03;
const RECENCY_DAYS = 60;
/** … and one that is used often, at most this much. */
const USE_WEIGHT = 0.03;

const RECALLED = `
  select fact_id, similarity, similarity
      + ${RECENCY_WEIGHT} * power(0.5, extract(epoch from now() - coalesce(last_used_at, created_at)) / ${RECENCY_DAYS * 86_400})
      + ${USE_WEIGHT} * (1 - 1 / (1 + use_count / 10.0)) as score
  from (
    select fact_id, created_at, last_used_at, use_count, 1 - (embedding <=> $2::vector) as similarity
    from user_memory
    where user_id = $1 and superseded_by is null and embedding is not null and embedding_model = $3
  ) mine
  where similarity >= $4
  order by score desc, fact_id limit $5`;

/** Best first, those that are similar enough. */
export async function recallFacts(
  db: Db,
  { userId, vector, model }: RecallQuery,
  limit = MAX_RECALLED,
  least = LEAST_SIMILARITY,
): Promise<RecalledFact[]> {
  const found = await rows<{ fact_id: FactId; similarity: number }>(db, RECALLED, [
    userId,
    vectorParameter(vector),
    model,
    least,
    limit,
  ]);
  return found.map(({ fact_id: factId, similarity }) => ({ factId, similarity }));
}

/**
 * Chooses an accepted turn's facts and writes them to its request, in one statement. A request that another caller has
 * joined, or that has ended, stays as it is: its stream may have been opened without them.
 * @returns the ids, best first
 */
export async function giveFacts(
  db: Db,
  turnId: TurnId,
  { userId, vector, model }: RecallQuery,
): Promise<readonly FactId[]> {
  const given = await row<{ fact_ids: FactId[] | null }>(db, GIVE, [
    userId,
    vectorParameter(vector),
    model,
    LEAST_SIMILARITY,
    MAX_RECALLED,
    turnId,
  ]);
  return given?.fact_ids ?? [];
}

const GIVE = `
  update turn_requests set fact_ids = coalesce((
    select array_agg(fact_id order by score desc, fact_id) from (${RECALLED}) recalled
  ), '{}')
  where turn_id = $6 and user_id = $1 and joined_at is null and ended_at is null
  returning fact_ids`;

/** A reply written again is told the facts that its message had the first time, as far as they are still there. */
export async function giveFactsAgain(
  db: Db,
  turn: {
    readonly turnId: TurnId;
    readonly userTurnId: TurnId;
    readonly conversationId: ConversationId;
    readonly userId: UserId;
  },
): Promise<readonly FactId[]> {
  const given = await row<{ fact_ids: FactId[] | null }>(db, GIVE_AGAIN, [
    turn.turnId,
    turn.userTurnId,
    turn.conversationId,
    turn.userId,
  ]);
  return given?.fact_ids ?? [];
}

const GIVE_AGAIN = `
  update turn_requests set fact_ids = coalesce((
    select array_agg(fact_id order by place)
    from unnest((
      select fact_ids from turn_requests first
      where first.conversation_id = $3 and first.user_turn_id = $2 and first.turn_id <> $1 and first.fact_ids <> '{}'
      order by first.turn_id limit 1
    )) with ordinality known (fact_id, place)
    where exists (select 1 from user_memory m where m.user_id = $4 and m.fact_id = known.fact_id and m.superseded_by is null)
  ), '{}')
  where turn_id = $1 and user_id = $4 and joined_at is null and ended_at is null
  returning fact_ids`;

/** Counts a use. Off a turn's path: a count that is lost changes little. */
export async function countUses(db: Db, userId: UserId, facts: readonly FactId[]): Promise<void> {
  await rows(
    db,
    `update user_memory set use_count = use_count + 1, last_used_at = now()
     where user_id = $1 and fact_id = any($2::uuid[])`,
    [userId, facts],
  );
}
