// Rows of `turns`: reading them, storing the user's message, and the one statement that ends a turn. Append-only and
// idempotent by primary key, so a retried activity changes nothing.
import { toWireUsage } from '../contracts/closing-entries.ts';
import type { Continuation } from '../contracts/engine.ts';
import type { ConversationId, OrgId, TurnId } from '../contracts/ids.ts';
import { MAX_SAMPLES, sampleTurnIds } from '../contracts/samples.ts';
import type { ShownTurn } from '../contracts/shown-turn.ts';
import type { FinishReason, ModerationVerdict, TokenUsage } from '../contracts/turn-facts.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';
import type { Authorized } from './standing.ts';
import { SHOWN_COLUMNS, toShownTurn } from './shown-turns.ts';
import type { ShownTurnRow } from './shown-turns.ts';

export interface StoredTurn extends ShownTurn {
  readonly conversationId: ConversationId;
  readonly pool: string | null;
  /** See the migration: length of the text (UTF-16 units) after each log entry. */
  readonly streamOffsets: readonly number[] | null;
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
  /** What this call changed: null when there was nothing to store, or an earlier call had done it. */
  readonly stored: StoredMessage | null;
}

export interface StoredMessage {
  readonly turn: ShownTurn;
  /** Of the conversation, with this turn in it. */
  readonly version: number;
}

/**
 * Stores the user turn of a request under its announced id and clears the text from the request (a regeneration has none),
 * and reads what the first steps ask, all in one statement; only where the text is stored already (a repeat, a regeneration)
 * it is read by a second one. A repeat answers the same. Null when the conversation is gone.
 */
export async function openTurn(db: Db, turnId: TurnId): Promise<OpenedTurn | null> {
  const opened = await row<OpenedRow>(db, OPEN_TURN, [turnId]);
  if (opened === null) return null;
  const { org_id: orgId, tier, content, parent_turn_id: parentTurnId, version } = opened;
  const standing = orgId === null || tier === null ? null : { orgId, tier };
  if (content === null || version === null)
    return { standing, message: await storedMessage(db, opened), stored: null };
  const turn: ShownTurn = {
    ...NO_REPLY,
    turnId: opened.user_turn_id,
    content,
    parentTurnId,
    replacesTurnId: opened.replaces_turn_id,
    createdAt: opened.stored_at,
  };
  return { standing, message: { content, parentTurnId }, stored: { version, turn } };
}

interface OpenedRow {
  org_id: OrgId | null;
  tier: string | null;
  content: string | null;
  parent_turn_id: TurnId | null;
  conversation_id: ConversationId;
  user_turn_id: TurnId;
  replaces_turn_id: TurnId | null;
  version: number | null;
  stored_at: Date;
}

async function storedMessage(
  db: Db,
  { conversation_id: conversationId, user_turn_id: turnId }: OpenedRow,
): Promise<OpenedTurn['message']> {
  const found = await findTurn(db, conversationId, turnId);
  return found === null ? null : { content: found.content, parentTurnId: found.parentTurnId };
}

/** What a user turn has not. */
const NO_REPLY = {
  role: 'user',
  tokenCount: null,
  model: null,
  servedModel: null,
  finishReason: null,
  errorCode: null,
  usage: null,
  moderationVerdict: null,
  sampleIndex: null,
} as const;

// Each part sees the rows as they were before the statement. It reads nothing of `turns`: a join would lock every month.
// The lock makes it wait for a request that is being withdrawn, of which nothing may be stored. The conversation's is taken
// first, as everywhere: a delete and a turn that ends take them in that order too.
const OPEN_TURN = `
  with request as (
    select r.*, c.user_id as owner_id
    from turn_requests r join conversations c using (conversation_id) where r.turn_id = $1
    for no key update of c for update of r
  ), stored as (
    insert into turns (turn_id, conversation_id, user_id, role, content, token_count, parent_turn_id, replaces_turn_id)
    select user_turn_id, conversation_id, user_id, 'user', content, token_count, parent_turn_id, replaces_turn_id
    from request where not is_regeneration and content is not null
    on conflict (conversation_id, turn_id) do nothing
    returning conversation_id, turn_id, content
  ), counted as (
    update conversations c
    set version = c.version + 1, last_turn_id = greatest(c.last_turn_id, s.turn_id),
      title = coalesce(c.title, left(regexp_replace(s.content, '\\s+', ' ', 'g'), 60))
    from stored s where c.conversation_id = s.conversation_id
    returning c.version
  ), cleared as (
    update turn_requests set content = null where turn_id = $1 and content is not null
  )
  select u.org_id, u.tier, r.content, r.parent_turn_id, r.conversation_id, r.user_turn_id, r.replaces_turn_id,
    (select version from counted) as version, now() as stored_at
  from request r
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

export interface StoredReplies {
  readonly turns: readonly ShownTurn[];
  /** Of the conversation, as these turns alone made it; null after a repeat, or when its message was stored with it. */
  readonly version: number | null;
}

/**
 * Ends a turn in one statement, thus one transaction: its replies, ledger row, conversation pointer, request.
 * A repeat finds everything done and changes nothing. Null when the conversation was deleted.
 */
export async function storeAssistantTurn(db: Db, turn: EndedTurn): Promise<StoredReplies | null> {
  const { samples, continuation } = turn;
  const ended = await row<{
    version: number;
    parent_turn_id: TurnId;
    replaces_turn_id: TurnId | null;
    stored_at: Date;
    is_whole: boolean;
  }>(db, STORE_ASSISTANT_TURN, [
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
  if (ended === null) return null;
  const turns = samples.map((each, index): ShownTurn => ({
    turnId: each.turnId,
    role: 'assistant',
    content: each.content,
    tokenCount: each.usage.completionTokens,
    parentTurnId: ended.parent_turn_id,
    replacesTurnId: ended.replaces_turn_id,
    model: turn.model,
    servedModel: turn.servedModel,
    finishReason: each.finishReason,
    errorCode: each.errorCode,
    usage: toWireUsage(each.usage, each.costUsd),
    moderationVerdict: turn.verdict,
    sampleIndex: samples.length > 1 ? index : null,
    createdAt: ended.stored_at,
  }));
  return { turns, version: ended.is_whole ? ended.version : null };
}

// The conversation's row is locked first, by its update: a concurrent delete either waits or leaves nothing to do here.
// On a repeat the request is already ended, and the pointer stays where later turns may have moved it. The message of a turn
// that was never opened (its first steps failed, or its workflow was ended by hand) is stored with its end: a reply without
// it would hang in the air.
const STORE_ASSISTANT_TURN = `
  with request as (
    select * from turn_requests where turn_id = $1
  ), conversation as (
    update conversations c
    set active_turn_id = case when r.ended_at is null then $1 else c.active_turn_id end, last_turn_at = now(),
      version = c.version + (r.ended_at is null)::integer,
      last_turn_id = greatest(c.last_turn_id, $1, ($11::uuid[])[cardinality($11::uuid[])])
    from request r where c.conversation_id = r.conversation_id
    returning c.conversation_id, c.user_id, c.org_id, c.version
  ), message as (
    insert into turns (turn_id, conversation_id, user_id, role, content, parent_turn_id, replaces_turn_id)
    select r.user_turn_id, c.conversation_id, c.user_id, 'user', r.content, r.parent_turn_id, r.replaces_turn_id
    from conversation c, request r where not r.is_regeneration and r.content is not null
    on conflict (conversation_id, turn_id) do nothing
    returning turn_id
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
  select c.version, r.user_turn_id as parent_turn_id, case when r.is_regeneration then r.replaces_turn_id end as replaces_turn_id,
    now() as stored_at, r.ended_at is null and not exists (select 1 from message) as is_whole
  from conversation c, request r`;

interface TurnRow extends ShownTurnRow {
  conversation_id: ConversationId;
  pool: string | null;
  stream_offsets: number[] | null;
}

/** The columns of StoredTurn; callers add their own where clause. */
const SELECT_TURN = `select ${SHOWN_COLUMNS}, conversation_id, pool, stream_offsets from turns`;

function toTurn(each: TurnRow): StoredTurn {
  return {
    ...toShownTurn(each),
    conversationId: each.conversation_id,
    pool: each.pool,
    streamOffsets: each.stream_offsets,
  };
}
