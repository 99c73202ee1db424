// Accepted turns: the durable record written before a workflow starts. Maps Idempotency-Keys, knows which turns run.
import type { ConversationId, FactId, TurnId, UserId } from '../contracts/ids.ts';
import { turnIdsOfSample } from '../contracts/samples.ts';
import { turnParams } from '../contracts/turn-request.ts';
import type { AcceptedTurn } from '../contracts/turn-request.ts';
import type { RunningTurn } from './conversations.ts';
import { row, rows } from './pool.ts';
import { IS_MEMORY_ON } from './user-settings.ts';
import type { Db } from './pool.ts';

export type AcceptOutcome =
  | 'accepted'
  /** Another turn runs below the same parent, or has taken the place behind the last turn meanwhile. */
  | 'conflict'
  /** The user's Idempotency-Key is taken: look it up and compare. */
  | 'duplicate-key'
  /** The conversation was deleted meanwhile. */
  | 'no-conversation';

/**
 * Inserts the request unless it conflicts; one statement, so two gateways cannot both win.
 * @param isContinuation the caller named no parent: the turn goes behind the conversation's last one, and only there
 */
export async function acceptTurn(
  db: Db,
  turn: AcceptedTurn,
  isContinuation: boolean,
): Promise<AcceptOutcome> {
  const inserted = await row(db, ACCEPT, [
    turn.turnId,
    turn.userTurnId,
    turn.conversationId,
    turn.userId,
    turn.parentTurnId,
    turn.replacesTurnId,
    turn.isRegeneration,
    turn.content,
    JSON.stringify(turn.params),
    turn.model,
    turn.pool,
    turn.idempotencyKey,
    turn.bodyHash,
    isContinuation,
    turn.tokenCount ?? null,
  ]);
  if (inserted !== null) return 'accepted';
  if (
    turn.idempotencyKey !== null &&
    (await findRequestByKey(db, turn.userId, turn.idempotencyKey)) !== null
  )
    return 'duplicate-key';
  const exists = await row(db, 'select 1 from conversations where conversation_id = $1', [
    turn.conversationId,
  ]);
  return exists === null ? 'no-conversation' : 'conflict';
}

// The lock makes it wait for a turn that is just being stored, and look at the conversation as that turn leaves it.
// Without memory fact_ids stays null: then nothing that was told earlier is told again either (conversation-prompt.ts).
const ACCEPT = `
  insert into turn_requests (turn_id, user_turn_id, conversation_id, user_id, parent_turn_id, replaces_turn_id,
    is_regeneration, content, params, model, pool, idempotency_key, body_hash, token_count, summarised_through,
    summary_version, fact_ids)
  select $1, $2, conversation_id, user_id, $5, $6, $7, $8, $9, $10, $11, $12, $13, $15, summary_through_turn_id,
    summary_version, case when ${IS_MEMORY_ON} then '{}'::uuid[] end
  from conversations c where conversation_id = $3 and user_id = $4
    and (not $14::boolean or active_turn_id is not distinct from $5)
  for no key update
  on conflict do nothing
  returning turn_id`;

/** A stored request. `content` is null once the workflow has stored the user turn. */
export interface StoredRequest extends AcceptedTurn {
  /** Of the user's memory, best first. */
  readonly factIds: readonly FactId[];
  readonly createdAt: Date;
  /** When its reply was stored; null while it runs. */
  readonly endedAt: Date | null;
}

export async function findRequest(db: Db, turnId: TurnId): Promise<StoredRequest | null> {
  return found(await row<RequestRow>(db, `${SELECT} where turn_id = $1`, [turnId]));
}

/** The request that made a turn, whichever of its replies the turn is. */
export async function findRequestOfReply(db: Db, turnId: TurnId): Promise<StoredRequest | null> {
  const possible = turnIdsOfSample(turnId);
  const found = await rows<RequestRow>(db, `${SELECT} where turn_id = any($1::uuid[])`, [possible]);
  const requests = found.map(toRequest);
  return requests.find((each) => possible.indexOf(each.turnId) < each.params.n) ?? null;
}

export async function findRequestByKey(
  db: Db,
  userId: UserId,
  key: string,
): Promise<StoredRequest | null> {
  return found(
    await row<RequestRow>(db, `${SELECT} where user_id = $1 and idempotency_key = $2`, [
      userId,
      key,
    ]),
  );
}

/** Turns of a conversation whose reply is not stored yet, oldest first. */
export async function runningTurns(db: Db, conversationId: ConversationId): Promise<RunningTurn[]> {
  const found = await rows<{ turn_id: TurnId; parent_turn_id: TurnId | null; n: number }>(
    db,
    `select turn_id, parent_turn_id, coalesce((params ->> 'n')::integer, 1) as n from turn_requests
     where conversation_id = $1 and ended_at is null order by turn_id`,
    [conversationId],
  );
  return found.map((each) => ({
    turnId: each.turn_id,
    numSamples: each.n,
    parentTurnId: each.parent_turn_id,
  }));
}

/** Accepted turns that are older than `olderThanMs` and not ended, oldest first: the background worker makes sure they run. */
export async function openRequests(
  db: Db,
  olderThanMs: number,
  limit: number,
): Promise<StoredRequest[]> {
  const stale = await rows<RequestRow>(
    db,
    `${SELECT} where ended_at is null and created_at < now() - make_interval(secs => $1) and serves_owner(user_id)
     order by created_at limit $2`,
    [olderThanMs / 1000, limit],
  );
  return stale.map(toRequest);
}

/** Closes a request whose turn cannot be stored any more (its conversation is gone, or its workflow was ended by hand). */
export async function closeRequest(db: Db, turnId: TurnId): Promise<void> {
  await rows(
    db,
    'update turn_requests set ended_at = now(), content = null where turn_id = $1 and ended_at is null',
    [turnId],
  );
}

/**
 * Takes back a request whose workflow could not be started: as if it had never been accepted.
 * @returns false when it stays: a repeat has joined it, or its workflow did start and has stored the message
 */
export async function withdrawRequest(db: Db, turnId: TurnId): Promise<boolean> {
  const withdrawn = await row(
    db,
    `delete from turn_requests where turn_id = $1 and ended_at is null and joined_at is null
       and (content is not null or is_regeneration) returning turn_id`,
    [turnId],
  );
  return withdrawn !== null;
}

/**
 * From now on the request cannot be withdrawn, nor given other facts: another caller is about to be given its turn.
 * @returns the turn's facts; null when the request was withdrawn
 */
export async function joinRequest(db: Db, turnId: TurnId): Promise<readonly FactId[] | null> {
  const joined = await row<{ fact_ids: FactId[] | null }>(
    db,
    `update turn_requests set joined_at = coalesce(joined_at, now()) where turn_id = $1 returning fact_ids`,
    [turnId],
  );
  return joined === null ? null : (joined.fact_ids ?? []);
}

interface RequestRow {
  turn_id: TurnId;
  user_turn_id: TurnId;
  conversation_id: ConversationId;
  user_id: UserId;
  parent_turn_id: TurnId | null;
  replaces_turn_id: TurnId | null;
  is_regeneration: boolean;
  content: string | null;
  params: unknown;
  model: string;
  pool: string;
  idempotency_key: string | null;
  body_hash: Buffer | null;
  fact_ids: FactId[] | null;
  created_at: Date;
  ended_at: Date | null;
}

const SELECT = `select turn_id, user_turn_id, conversation_id, user_id, parent_turn_id, replaces_turn_id, is_regeneration,
  content, params, model, pool, idempotency_key, body_hash, fact_ids, created_at, ended_at from turn_requests`;

function found(each: RequestRow | null): StoredRequest | null {
  return each === null ? null : toRequest(each);
}

function toRequest(each: RequestRow): StoredRequest {
  return {
    turnId: each.turn_id,
    userTurnId: each.user_turn_id,
    conversationId: each.conversation_id,
    userId: each.user_id,
    parentTurnId: each.parent_turn_id,
    replacesTurnId: each.replaces_turn_id,
    isRegeneration: each.is_regeneration,
    content: each.content,
    params: turnParams.parse(each.params),
    model: each.model,
    pool: each.pool,
    idempotencyKey: each.idempotency_key,
    bodyHash: each.body_hash,
    factIds: each.fact_ids ?? [],
    createdAt: each.created_at,
    endedAt: each.ended_at,
  };
}
