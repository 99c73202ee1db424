// Rows of `turns`: reading them, storing the user's message, and the one statement that ends a turn. Append-only and
// idempotent by primary key, so a retried activity changes nothing.
import { toWireUsage } from '../contracts/closing-entries.ts';
import type { Continuation } from '../contracts/engine.ts';
import type { ConversationId, OrgId, TurnId, UserId } from '../contracts/ids.ts';
import { MAX_SAMPLES, sampleTurnIds } from '../contracts/samples.ts';
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
  /** Which of its request's replies it is; null where there is one. */
  readonly sampleIndex: number | null;
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

/** All replies of a turn, in order of their index; empty before they are stored. */
export async function findReplies(
  db: Db,
  conversationId: ConversationId,
  turnId: TurnId,
): Promise<StoredTurn[]> {
  const found = await rows<TurnRow>(
    db,
    `${SELECT_TURN} where conversation_id = $1 and turn_id = any($2::uuid[]) order by sample_index`,
    [conversationId, sampleTurnIds(turnId, MAX_SAMPLES)],
  );
  return found.map(toTurn);
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

/** The oldest `limit` turns after `after` (of all when null), oldest first. */
export async function turnsAfter(
  db: Db,
  conversationId: ConversationId,
  after: TurnId | null,
  limit: number,
): Promise<StoredTurn[]> {
  const found = await rows<TurnRow>(
    db,
    `${SELECT_TURN} where conversation_id = $1 and turn_id > $2 order by turn_id limit $3`,
    [conversationId, after ?? OLDEST, limit],
  );
  return found.map(toTurn);
}

/** Below every UUIDv7. */
const OLDEST = '00000000-0000-7000-8000-000000000000';

/** What the first steps of a turn ask the store, as of now. */
export interface OpenedTurn {
  /** Null when the user is disabled or the conversation is not theirs. */
  readonly standing: Authorized | null;
  /** The user turn; null when it is gone. */
  readonly message: { readonly content: string; readonly parentTurnId: TurnId | null } | null;
}

/**
 * Stores the user turn of a request under its announced id and clears the text from the request (a regeneration has none),
 * and reads what the first steps ask, all in one statement. A repeat finds it stored and answers the same.
 * Null when the conversation is gone.
 */
export async function openTurn(db: Db, turnId: TurnId): Promise<OpenedTurn | null> {
  const opened = await row<{
    org_id: OrgId | null;
    tier: string | null;
    content: string | null;
    parent_turn_id: TurnId | null;
  }>(db, OPEN_TURN, [turnId]);
  if (opened === null) return null;
  const { org_id: orgId, tier, content, parent_turn_id: parentTurnId } = opened;
  return {
    standing: orgId === null || tier === null ? null : { orgId, tier },
    message: content === null ? null : { content, parentTurnId },
  };
}

// Each part sees the rows as they were before the statement: on the first call the text is in the request, later in `turns`.
// The lock makes it wait for a request that is being withdrawn, of which nothing may be stored.
const OPEN_TURN = `
  with request as (
    select r.*, c.user_id as owner_id
    from turn_requests r join conversations c using (conversation_id) where r.turn_id = $1
    for update of r
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
  select u.org_id, u.tier, coalesce(t.content, r.content) as content,
    case when r.is_regeneration then t.parent_turn_id else r.parent_turn_id end as parent_turn_id
  from request r
  left join turns t on t.conversation_id = r.conversation_id and t.turn_id = r.user_turn_id
  left join users u on u.user_id = r.user_id and u.user_id = r.owner_id and u.disabled_at is null`;

/** One reply as it was delivered. */
export interface EndedSample {
  readonly turnId: TurnId;
  readonly content: string;
  readonly finishReason: FinishReason;
  readonly errorCode: string | null;
  readonly usage: TokenUsage;
  readonly costUsd: number;
  readonly streamOffsets: readonly number[];
}

export interface EndedTurn {
  readonly turnId: TurnId;
  readonly model: string;
  readonly servedModel: string;
  readonly pool: string;
  /** What the ledger says of the turn as a whole. */
  readonly finishReason: FinishReason;
  readonly usage: TokenUsage;
  readonly costUsd: number;
  readonly verdict: ModerationVerdict | null;
  /** How the reply went on after it was cut; kept beside its usage, for operators. */
  readonly continuation: Continuation | null;
  /** In order of their index; one as a rule. */
  readonly samples: readonly EndedSample[];
}

/**
 * Ends a turn in one statement, thus one transaction: its replies, ledger row, conversation pointer, request.
 * A repeat finds everything done and changes nothing. Returns false when the conversation was deleted.
 */
export async function storeAssistantTurn(db: Db, turn: EndedTurn): Promise<boolean> {
  const { samples, continuation } = turn;
  const ended = await row(db, STORE_ASSISTANT_TURN, [
    turn.turnId,
    turn.model,
    turn.servedModel,
    turn.pool,
    turn.finishReason,
    turn.verdict === null ? null : JSON.stringify(turn.verdict),
    turn.usage.promptTokens,
    turn.usage.completionTokens,
    turn.usage.cachedTokens,
    turn.costUsd,
    samples.map((each) => each.turnId),
    samples.map((each) => each.content),
    samples.map((each) => each.usage.completionTokens),
    samples.map((each) => each.finishReason),
    samples.map((each) => each.errorCode),
    samples.map(({ usage, costUsd }) =>
      JSON.stringify({
        ...toWireUsage(usage, costUsd),
        ...(continuation === null ? {} : { continuation }),
      }),
    ),
    // An array of arrays would have to be rectangular, and comes apart when it is unnested.
    samples.map((each) => `{${each.streamOffsets.join(',')}}`),
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
      model, served_model, pool, finish_reason, error_code, usage, moderation_verdict, stream_offsets, sample_index)
    select s.turn_id, c.conversation_id, c.user_id, 'assistant', s.content, s.token_count, r.user_turn_id,
      case when r.is_regeneration then r.replaces_turn_id end, $2, $3, $4, s.finish_reason, s.error_code, s.usage::jsonb,
      $6, s.stream_offsets::integer[], case when cardinality($11::uuid[]) > 1 then s.n - 1 end
    from conversation c, request r, unnest($11::uuid[], $12::text[], $13::integer[], $14::text[], $15::text[], $16::text[],
      $17::text[]) with ordinality as s(turn_id, content, token_count, finish_reason, error_code, usage, stream_offsets, n)
    on conflict (conversation_id, turn_id) do nothing
  ), billed as (
    insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens, completion_tokens,
      cached_tokens, cost_usd)
    select $1, c.user_id, c.org_id, c.conversation_id, $2, $5, $7, $8, $9, $10
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
  sample_index: number | null;
  created_at: Date;
}

/** The columns of StoredTurn; callers add their own where clause. */
const SELECT_TURN = `select turn_id, conversation_id, role, content, parent_turn_id, replaces_turn_id, model, served_model,
  pool, finish_reason, error_code, usage, moderation_verdict, stream_offsets, sample_index, created_at from turns`;

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
    sampleIndex: each.sample_index,
    createdAt: each.created_at,
  };
}
