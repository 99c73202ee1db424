// Rows of `turns`: reading them, storing the user's message, and the one statement that ends a turn. Append-only and
// idempotent by primary key, so a retried activity changes nothing.
import { toWireUsage } from '../contracts/closing-entries.ts';
import type { Continuation } from '../contracts/engine.ts';
import type { ConversationId, OrgId, TurnId, UserId } from '../contracts/ids.ts';
import type { FinishReason, ModerationVerdict, TokenUsage } from '../contracts/turn-facts.ts';
import type { WireUsage } from '../contracts/turn-events.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

export interface StoredTurn {
  readonly turnId: TurnId;
  readonly conversationId: ConversationId;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly parentTurnId: TurnId | null;
  readonly replacesTurnId: TurnId | null;
  readonly model: string | null;
  readonly servedModel: string | null;
  readonly pool: string | null;
  readonly finishReason: FinishReason | null;
  readonly errorCode: string | null;
  readonly usage: WireUsage | null;
  readonly moderationVerdict: ModerationVerdict | null;
  /** See the migration: length of the text (UTF-16 units) after each log entry. */
  readonly streamOffsets: readonly number[] | null;
  readonly createdAt: Date;
}

export async function findTurn(
  db: Db,
  conversationId: ConversationId,
  turnId: TurnId,
): Promise<StoredTurn | null> {
  const found = await row<TurnRow>(
    db,
    `${SELECT_TURN} where conversation_id = $1 and turn_id = $2`,
    [conversationId, turnId],
  );
  return found === null ? null : toTurn(found);
}

/** The newest `limit` turns at or before `turnId`, oldest first: enough to walk a branch up from there. */
export async function turnsUpTo(
  db: Db,
  conversationId: ConversationId,
  turnId: TurnId,
  limit: number,
): Promise<StoredTurn[]> {
  const newest = await rows<TurnRow>(
    db,
    `${SELECT_TURN} where conversation_id = $1 and turn_id <= $2 order by turn_id desc limit $3`,
    [conversationId, turnId, limit],
  );
  return newest.reverse().map(toTurn);
}

/**
 * Stores the user turn of a request under its announced id and clears the text from the request; a regeneration has none.
 * Returns false when the conversation is gone.
 */
export async function storeUserTurn(db: Db, turnId: TurnId): Promise<boolean> {
  return (await row(db, STORE_USER_TURN, [turnId])) !== null;
}

const STORE_USER_TURN = `
  with request as (
    select r.* from turn_requests r join conversations c using (conversation_id) where r.turn_id = $1
  ), stored as (
    insert into turns (turn_id, conversation_id, user_id, role, content, parent_turn_id, replaces_turn_id)
    select user_turn_id, conversation_id, user_id, 'user', content, parent_turn_id, replaces_turn_id
    from request where not is_regeneration and content is not null
    on conflict (conversation_id, turn_id) do nothing
    returning conversation_id, content
  ), titled as (
    update conversations c set title = coalesce(c.title, left(regexp_replace(s.content, '\\s+', ' ', 'g'), 60))
    from stored s where c.conversation_id = s.conversation_id and c.title is null
  ), cleared as (
    update turn_requests set content = null where turn_id = $1 and content is not null
  )
  select turn_id from request`;

export interface EndedTurn {
  readonly turnId: TurnId;
  readonly conversationId: ConversationId;
  readonly content: string;
  readonly model: string;
  readonly servedModel: string;
  readonly pool: string;
  readonly finishReason: FinishReason;
  readonly errorCode: string | null;
  readonly usage: TokenUsage;
  readonly costUsd: number;
  readonly verdict: ModerationVerdict | null;
  /** How the reply went on after it was cut; kept beside its usage, for operators. */
  readonly continuation: Continuation | null;
  readonly streamOffsets: readonly number[];
}

/**
 * Ends a turn in one statement, thus one transaction: assistant turn, ledger row, conversation pointer, request.
 * A repeat finds everything done and changes nothing. Returns false when the conversation was deleted.
 */
export async function storeAssistantTurn(db: Db, turn: EndedTurn): Promise<boolean> {
  const usage = toWireUsage(turn.usage, turn.costUsd);
  const ended = await row(db, STORE_ASSISTANT_TURN, [
    turn.turnId,
    turn.content,
    turn.usage.completionTokens,
    turn.model,
    turn.servedModel,
    turn.pool,
    turn.finishReason,
    turn.errorCode,
    JSON.stringify(
      turn.continuation === null ? usage : { ...usage, continuation: turn.continuation },
    ),
    turn.verdict === null ? null : JSON.stringify(turn.verdict),
    turn.streamOffsets,
    turn.usage.promptTokens,
    turn.usage.cachedTokens,
    turn.costUsd,
  ]);
  return ended !== null;
}

// The conversation's row is locked first, by its update: a concurrent delete either waits or leaves nothing to do here.
// On a repeat the request is already ended, and the pointer stays where later turns may have moved it.
const STORE_ASSISTANT_TURN = `
  with request as (
    select * from turn_requests where turn_id = $1
  ), conversation as (
    update conversations c
    set active_turn_id = case when r.ended_at is null then $1 else c.active_turn_id end, last_turn_at = now()
    from request r where c.conversation_id = r.conversation_id
    returning c.conversation_id, c.user_id, c.org_id
  ), stored as (
    insert into turns (turn_id, conversation_id, user_id, role, content, token_count, parent_turn_id, replaces_turn_id,
      model, served_model, pool, finish_reason, error_code, usage, moderation_verdict, stream_offsets)
    select $1, c.conversation_id, c.user_id, 'assistant', $2, $3, r.user_turn_id,
      case when r.is_regeneration then r.replaces_turn_id end, $4, $5, $6, $7, $8, $9, $10, $11
    from conversation c, request r
    on conflict (conversation_id, turn_id) do nothing
  ), billed as (
    insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens, completion_tokens,
      cached_tokens, cost_usd)
    select $1, c.user_id, c.org_id, c.conversation_id, $4, $7, $12, $3, $13, $14
    from conversation c
    on conflict (turn_id) do nothing
  ), closed as (
    update turn_requests set ended_at = now(), content = null where turn_id = $1 and ended_at is null
  )
  select conversation_id from conversation`;

export interface Authorized {
  readonly orgId: OrgId;
  readonly tier: string;
}

/** The user's standing and ownership of the conversation, as of now; null when either is gone. */
export async function authorizeTurn(
  db: Db,
  userId: UserId,
  conversationId: ConversationId,
): Promise<Authorized | null> {
  const found = await row<{ org_id: OrgId; tier: string }>(
    db,
    `select u.org_id, u.tier from users u join conversations c using (user_id)
     where u.user_id = $1 and c.conversation_id = $2 and u.disabled_at is null`,
    [userId, conversationId],
  );
  return found === null ? null : { orgId: found.org_id, tier: found.tier };
}

interface TurnRow {
  turn_id: TurnId;
  conversation_id: ConversationId;
  role: 'user' | 'assistant';
  content: string;
  parent_turn_id: TurnId | null;
  replaces_turn_id: TurnId | null;
  model: string | null;
  served_model: string | null;
  pool: string | null;
  finish_reason: FinishReason | null;
  error_code: string | null;
  usage: WireUsage | null;
  moderation_verdict: ModerationVerdict | null;
  stream_offsets: number[] | null;
  created_at: Date;
}

/** The columns of StoredTurn; callers add their own where clause. */
const SELECT_TURN = `select turn_id, conversation_id, role, content, parent_turn_id, replaces_turn_id, model, served_model,
  pool, finish_reason, error_code, usage, moderation_verdict, stream_offsets, created_at from turns`;

function toTurn(each: TurnRow): StoredTurn {
  return {
    turnId: each.turn_id,
    conversationId: each.conversation_id,
    role: each.role,
    content: each.content,
    parentTurnId: each.parent_turn_id,
    replacesTurnId: each.replaces_turn_id,
    model: each.model,
    servedModel: each.served_model,
    pool: each.pool,
    finishReason: each.finish_reason,
    errorCode: each.error_code,
    usage: each.usage,
    moderationVerdict: each.moderation_verdict,
    streamOffsets: each.stream_offsets,
    createdAt: each.created_at,
  };
}
