// What a user told the service to remember, and what it may have learnt.
import { newFactId } from '../contracts/ids.ts';
import type { FactId, UserId } from '../contracts/ids.ts';
import { rows, transaction } from './pool.ts';
import type { Db, Pool } from './pool.ts';

export interface StoredFact {
  readonly factId: FactId;
  readonly text: string;
  readonly createdAt: Date;
}

export async function listFacts(db: Db, userId: UserId): Promise<StoredFact[]> {
  const found = await rows<{ fact_id: FactId; text: string; created_at: Date }>(
    db,
    'select fact_id, text, created_at from user_memory where user_id = $1 order by created_at, fact_id',
    [userId],
  );
  return found.map((each) => ({
    factId: each.fact_id,
    text: each.text,
    createdAt: each.created_at,
  }));
}

/** Adds and removes in one transaction; absent ids are ignored. Returns what is there afterwards. */
export async function changeFacts(
  pool: Pool,
  userId: UserId,
  add: readonly string[],
  remove: readonly string[],
): Promise<StoredFact[]> {
  return transaction(pool, async (client) => {
    if (remove.length > 0)
      await rows(
        client,
        'delete from user_memory where user_id = $1 and fact_id = any($2::uuid[])',
        [userId, remove],
      );
    for (const text of add) {
      await rows(
        client,
        'insert into user_memory (user_id, fact_id, text, created_at) values ($1, $2, $3, clock_timestamp())',
        [userId, newFactId(), text],
      );
    }
    return listFacts(client, userId);
  });
}
