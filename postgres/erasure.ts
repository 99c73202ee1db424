// True deletion of rows: of a conversation, of a user, of an organisation. Every statement names the owner, and may be
// repeated.
import type { ErasureCounts } from '../contracts/erasure.ts';
import type { ConversationId, OrgId, TurnId, UserId } from '../contracts/ids.ts';
import {
  ACCOUNT_TABLES,
  CONVERSATION_TABLES,
  UNLINKED_TABLES,
  USER_TABLES,
} from './owned-tables.ts';
import { forgetConversation } from './memory-deletion.ts';
import { row, rows, transaction } from './pool.ts';
import type { Db, Pool, PoolClient } from './pool.ts';
import { pseudonymFor } from './pseudonym.ts';

/** A turn whose log is left to remove. */
export interface DeletedTurn {
  readonly turnId: TurnId;
  readonly numSamples: number;
}

export interface DeletedConversation {
  readonly turns: readonly DeletedTurn[];
  readonly numRows: number;
}

/**
 * Deletes every row of a conversation but its ledger, which has no text. The conversation goes first: a turn that is
 * being stored either finishes before, or finds nothing to store into.
 * @param idleDays only if nobody has written for so long, nor does now; null = whatever happens in it
 * @returns null when there is no such conversation
 */
export async function deleteConversation(
  pool: Pool,
  userId: UserId,
  id: ConversationId,
  idleDays: number | null = null,
): Promise<DeletedConversation | null> {
  return transaction(pool, async (client) => {
    if (idleDays !== null && !(await lockIdle(client, userId, id, idleDays))) return null;
    const numFacts = await forgetConversation(client, userId, id);
    const deleted = await row(
      client,
      'delete from conversations where conversation_id = $1 and user_id = $2 returning conversation_id',
      [id, userId],
    );
    return deleted === null ? null : deleteRows(client, id, numFacts);
  });
}

/** Locked first: a turn that is just being accepted is seen by the second statement, a later one finds no conversation. */
async function lockIdle(
  client: PoolClient,
  userId: UserId,
  id: ConversationId,
  days: number,
): Promise<boolean> {
  await rows(
    client,
    'select from conversations where conversation_id = $1 and user_id = $2 for update',
    [id, userId],
  );
  const idle = await row(
    client,
    `select 1 from conversations where conversation_id = $1 and last_turn_at < now() - make_interval(days => $2)
       and not exists (select from turn_requests where conversation_id = $1 and ended_at is null)`,
    [id, days],
  );
  return idle !== null;
}

/** The rows that hang on a conversation, whose own is gone or locked. */
async function deleteRows(
  client: PoolClient,
  id: ConversationId,
  numFacts: number,
): Promise<DeletedConversation> {
  const requests = await rows<{ turn_id: TurnId; n: number }>(
    client,
    `select turn_id, coalesce((params ->> 'n')::integer, 1) as n from turn_requests where conversation_id = $1`,
    [id],
  );
  let numRows = 1 + numFacts;
  for (const { table } of CONVERSATION_TABLES)
    numRows += await deleteFrom(client, table, 'conversation_id', id);
  const turns = requests.map((each) => ({ turnId: each.turn_id, numSamples: each.n }));
  return { turns, numRows };
}

/** @param table one of owned-tables.ts @returns rows that went */
async function deleteFrom(
  db: Db,
  table: string,
  column: 'conversation_id' | 'user_id',
  id: string,
): Promise<number> {
  const gone = await row<{ n: number }>(
    db,
    `with gone as (delete from ${table} where ${column} = $1 returning 1) select count(*) as n from gone`,
    [id],
  );
  return gone?.n ?? 0;
}

/** Conversations of a user, in any order: erasing takes them a few at a time. */
export async function someConversations(
  db: Db,
  userId: UserId,
  limit: number,
): Promise<ConversationId[]> {
  const found = await rows<{ conversation_id: ConversationId }>(
    db,
    'select conversation_id from conversations where user_id = $1 limit $2',
    [userId, limit],
  );
  return found.map((each) => each.conversation_id);
}

/** From now on nobody is let in as this user: their keys are gone. False when there is no such user. */
export async function closeAccount(directory: Db, userId: UserId): Promise<boolean> {
  const closed = await row(
    directory,
    `with gone as (delete from api_keys where user_id = $1)
     update users set disabled_at = coalesce(disabled_at, now()) where user_id = $1 returning user_id`,
    [userId],
  );
  return closed !== null;
}

/** Rows of a user beside conversations, and their name on what is kept for the books. @returns rows that went */
export async function deleteUserRows(db: Db, userId: UserId): Promise<number> {
  let numRows = 0;
  for (const table of USER_TABLES) numRows += await deleteFrom(db, table, 'user_id', userId);
  return numRows;
}

/** In sight of everybody: afterwards the rows are nobody's. */
export async function unlinkLedger(db: Db, userId: UserId): Promise<void> {
  const pseudonym = pseudonymFor(userId);
  for (const table of UNLINKED_TABLES)
    await rows(db, `update ${table} set user_id = $2, conversation_id = $2 where user_id = $1`, [
      userId,
      pseudonym,
    ]);
}

/** The account itself, when nothing hangs on it any more. @returns rows that went */
export async function deleteAccount(directory: Db, userId: UserId): Promise<number> {
  let numRows = 0;
  for (const table of ACCOUNT_TABLES)
    numRows += await deleteFrom(directory, table, 'user_id', userId);
  return numRows;
}

/** Rows that still name the user, in the tables of owners. @param db in sight of everybody, so that nothing hides */
export async function rowsLeft(db: Db, userId: UserId): Promise<number> {
  const tables = [
    'conversations',
    ...CONVERSATION_TABLES.filter(({ hasUser }) => hasUser).map(({ table }) => table),
    ...USER_TABLES,
    ...UNLINKED_TABLES,
  ];
  let left = 0;
  for (const table of tables) {
    const found = await row<{ n: number }>(
      db,
      `select count(*) as n from ${table} where user_id = $1`,
      [userId],
    );
    left += found?.n ?? 0;
  }
  return left;
}

/** Users of an organisation, a few at a time. */
export async function someUsers(directory: Db, orgId: OrgId, limit: number): Promise<UserId[]> {
  const found = await rows<{ user_id: UserId }>(
    directory,
    'select user_id from users where org_id = $1 limit $2',
    [orgId, limit],
  );
  return found.map((each) => each.user_id);
}

/** Whether the user is of this organisation. */
export async function isUserOf(directory: Db, orgId: OrgId, userId: UserId): Promise<boolean> {
  const found = await row(directory, 'select 1 from users where user_id = $1 and org_id = $2', [
    userId,
    orgId,
  ]);
  return found !== null;
}

/** The organisation itself. False when it was gone. */
export async function deleteOrganisation(directory: Db, orgId: OrgId): Promise<boolean> {
  const gone = await row(
    directory,
    'delete from organisations where org_id = $1 returning org_id',
    [orgId],
  );
  return gone !== null;
}

export type ErasureKind = 'conversation' | 'user' | 'organisation' | 'retention';

/** Notes what was erased, for the scrubbing that follows and for whoever has to answer for it. */
export async function recordErasure(
  directory: Db,
  kind: ErasureKind,
  subjectId: string,
  counts: ErasureCounts,
): Promise<void> {
  await rows(directory, 'insert into erasures (kind, subject_id, counts) values ($1, $2, $3)', [
    kind,
    subjectId,
    JSON.stringify(counts),
  ]);
}

/** Erasures that the files of the stores may still tell of, up to now; null when there are none. */
export async function unscrubbed(directory: Db): Promise<{ through: Date; count: number } | null> {
  const found = await row<{ through: Date | null; count: number }>(
    directory,
    'select clock_timestamp() as through, count(*) as count from erasures where scrubbed_at is null',
  );
  return found === null || found.through === null || found.count === 0
    ? null
    : { through: found.through, count: found.count };
}

export async function markScrubbed(directory: Db, through: Date): Promise<void> {
  await rows(
    directory,
    'update erasures set scrubbed_at = now() where scrubbed_at is null and erased_at < $1',
    [through],
  );
}
