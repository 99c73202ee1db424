// Facts whose vector is absent or another model's, walked through by user and fact. Their place is `<user>/<fact>`.
import pgvector from 'pgvector/pg';
import type { FactId, UserId } from '../contracts/ids.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

/** Values of the column, whatever the model: a narrower vector is filled up with zeros, which leaves its cosines as they are. */
const COLUMN_WIDTH = 1536;
/** Sorts before every id. */
const NIL = '00000000-0000-0000-0000-000000000000';

/** What one look at a bounded number of rows found. */
export interface JobWindow {
  /** Of the rows with work left, at most the limit. */
  readonly count: number;
  /** The last of them when the limit was reached, else the last row that was looked at; null behind the last row. */
  readonly through: string | null;
}

export interface StaleFact {
  readonly place: string;
  readonly userId: UserId;
  readonly factId: FactId;
  readonly text: string;
}

/** Looks at `maxRows` facts behind a place for at most `limit` that `model` has not embedded. */
export async function staleWindow(
  db: Db,
  model: string,
  after: string | null,
  maxRows: number,
  limit: number,
): Promise<JobWindow> {
  const found = await row<{ count: number; through: string | null }>(
    db,
    `with scanned as (
       select user_id, fact_id, (embedding is null or embedding_model is distinct from $1) and serves_owner(user_id) as is_stale
       from user_memory where (user_id, fact_id) > ($2::uuid, $3::uuid)
       order by user_id, fact_id limit $4
     ), stale as (
       select user_id, fact_id from scanned where is_stale order by user_id, fact_id limit $5
     ), counted as (
       select count(*) as count from stale
     ), last as (
       (select user_id, fact_id from stale, counted where counted.count = $5 order by user_id desc, fact_id desc limit 1)
       union all
       (select user_id, fact_id from scanned, counted where counted.count < $5 order by user_id desc, fact_id desc limit 1)
     )
     select counted.count, user_id || '/' || fact_id as through from counted left join last on true`,
    [model, ...keysOf(after), maxRows, limit],
  );
  return found ?? { count: 0, through: null };
}

/** The first `limit` of them between two places, the second included. */
export async function staleFacts(
  db: Db,
  model: string,
  after: string | null,
  through: string,
  limit: number,
): Promise<StaleFact[]> {
  const found = await rows<{ user_id: UserId; fact_id: FactId; text: string }>(
    db,
    `select user_id, fact_id, text from user_memory
     where (user_id, fact_id) > ($2::uuid, $3::uuid) and (user_id, fact_id) <= ($4::uuid, $5::uuid)
       and (embedding is null or embedding_model is distinct from $1) and serves_owner(user_id)
     order by user_id, fact_id limit $6`,
    [model, ...keysOf(after), ...keysOf(through), limit],
  );
  return found.map(({ user_id: userId, fact_id: factId, text }) => ({
    place: `${userId}/${factId}`,
    userId,
    factId,
    text,
  }));
}

/** Stores vectors of texts that are still the facts' own; returns how many. */
export async function storeEmbeddings(
  db: Db,
  model: string,
  facts: readonly (StaleFact & { readonly vector: Float32Array })[],
): Promise<number> {
  const stored = await rows(
    db,
    `update user_memory m set embedding = v.embedding::vector, embedding_model = $1
     from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[]) as v(user_id, fact_id, text, embedding)
     where m.user_id = v.user_id and m.fact_id = v.fact_id and m.text = v.text
     returning m.fact_id`,
    [
      model,
      facts.map(({ userId }) => userId),
      facts.map(({ factId }) => factId),
      facts.map(({ text }) => text),
      facts.map(({ vector }) => columnOf(vector)),
    ],
  );
  return stored.length;
}

function columnOf(vector: Float32Array): string {
  return pgvector.toSql(
    Array.from({ length: COLUMN_WIDTH }, (_, index) => vector[index] ?? 0),
  ) as string;
}

function keysOf(place: string | null): [user: string, fact: string] {
  const [user = NIL, fact = NIL] = place?.split('/') ?? [];
  return [user, fact];
}
