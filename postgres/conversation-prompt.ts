// What prompt assembly reads: the request with all that was fixed when it was accepted, and the conversation's recent turns.
import { firstTurnIdOf } from '../contracts/ids.ts';
import type { ConversationId, FactId, TurnId } from '../contracts/ids.ts';
import { turnParams } from '../contracts/turn-request.ts';
import type { TurnParams } from '../contracts/turn-request.ts';
import { plannedRows, row } from './pool.ts';
import type { Db } from './pool.ts';
import { coverFrom } from './summary-cover.ts';
import type { SummaryRow } from './summary-cover.ts';

export interface PromptRequest {
  readonly params: TurnParams;
  /** The conversation's own; null when it has none. */
  readonly systemPrompt: string | null;
  /** See the migration: summaries of later versions are not this turn's. */
  readonly summaryVersion: number;
  /** The branch's turns up to here may be told by summaries, if it is on the branch. */
  readonly summarisedThrough: TurnId | null;
  /** What tells the turns up to there, oldest first. */
  readonly cover: readonly SummaryRow[];
  /** What an engine got of this turn; null before, or when none was asked. */
  readonly promptSha256: Buffer | null;
  /** Facts of this request and of earlier ones, oldest first; removed ones are absent. Null: memory is off for this one. */
  readonly facts: readonly RequestFacts[] | null;
}

export interface RequestFacts {
  readonly turnId: TurnId;
  readonly numSamples: number;
  readonly facts: readonly {
    readonly factId: FactId;
    readonly text: string;
    readonly createdAt: Date;
  }[];
}

export interface PromptKeys {
  readonly turnId: TurnId;
  readonly conversationId: ConversationId;
}

/** Null when there is no such request, or its conversation is gone. @param isOpen null too when the turn has ended */
export async function promptRequest(
  db: Db,
  { turnId, conversationId }: PromptKeys,
  isOpen: boolean,
): Promise<PromptRequest | null> {
  const found = await row<{
    params: unknown;
    system_prompt: string | null;
    summary_version: number;
    summarised_through: TurnId | null;
    prompt_sha256: Buffer | null;
    has_facts: boolean;
    cover: SummaryRow[] | null;
    facts: WireFacts[] | null;
  }>(db, PROMPT_REQUEST, [turnId, conversationId, isOpen, MAX_REQUESTS_WITH_FACTS]);
  if (found === null) return null;
  const { params, system_prompt: systemPrompt, has_facts: hasFacts, cover, facts } = found;
  return {
    params: turnParams.parse(params),
    systemPrompt,
    summaryVersion: found.summary_version,
    summarisedThrough: found.summarised_through,
    cover: cover ?? [],
    promptSha256: found.prompt_sha256,
    facts: hasFacts ? (facts ?? []).map(toFacts) : null,
  };
}

interface WireFacts {
  turnId: TurnId;
  numSamples: number;
  facts: { factId: FactId; text: string; createdAt: string }[] | null;
}

function toFacts({ turnId, numSamples, facts }: WireFacts): RequestFacts {
  const dated = (facts ?? []).map((each) => ({ ...each, createdAt: new Date(each.createdAt) }));
  return { turnId, numSamples, facts: dated };
}

/** More exchanges than a window of ours has. */
const MAX_REQUESTS_WITH_FACTS = 200;

const PROMPT_REQUEST = `
  select r.params, c.system_prompt, r.summary_version, r.summarised_through, r.prompt_sha256,
    r.fact_ids is not null as has_facts,
    case when r.summarised_through is not null then (${coverFrom(
      'r.summarised_through',
      '$2',
      'r.summary_version',
    )}) end as cover,
    case when r.fact_ids is not null then (
      select json_agg(json_build_object('turnId', q.turn_id, 'numSamples', q.num_samples, 'facts', known.facts)
        order by q.turn_id)
      from (
        select turn_id, user_id, fact_ids, coalesce((params ->> 'n')::integer, 1) as num_samples from turn_requests
        where conversation_id = $2 and turn_id <= $1 and fact_ids <> '{}' order by turn_id desc limit $4
      ) q cross join lateral (
        select json_agg(json_build_object('factId', m.fact_id, 'text', m.text, 'createdAt', m.created_at)
          order by chosen.place) as facts
        from unnest(q.fact_ids) with ordinality as chosen(fact_id, place)
        join user_memory m on m.user_id = q.user_id and m.fact_id = chosen.fact_id
      ) known
    ) end as facts
  from turn_requests r join conversations c using (conversation_id)
  where r.turn_id = $1 and r.conversation_id = $2 and (not $3::boolean or r.ended_at is null)`;

export interface PromptTurnRow {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  readonly tokenCount: number | null;
}

/**
 * The newest turns at or before `upTo` on all branches, oldest first: enough to walk a branch up from there. Whoever keeps
 * them may give more than was asked for: what is made of them does not depend on it.
 * @param limit most turns
 * @param maxTokens and no more than so many tokens, but for the turn that goes over it
 */
export async function recentTurns(
  db: Db,
  conversationId: ConversationId,
  upTo: TurnId,
  limit: number,
  maxTokens: number,
): Promise<readonly PromptTurnRow[]> {
  const newest = await plannedRows<{
    turn_id: TurnId;
    parent_turn_id: TurnId | null;
    role: 'user' | 'assistant';
    content: string;
    token_count: number | null;
  }>(db, RECENT_TURNS, [conversationId, upTo, limit, maxTokens, firstTurnIdOf(conversationId)]);
  return newest.map((each) => ({
    turnId: each.turn_id,
    parentTurnId: each.parent_turn_id,
    role: each.role,
    content: each.content,
    tokenCount: each.token_count,
  }));
}

// Long texts are fetched only where they are shown: the sum is made of the counts.
const RECENT_TURNS = `
  select turn_id, parent_turn_id, role, content, token_count from (
    select turn_id, parent_turn_id, role, content, token_count,
      sum(coalesce(token_count, 0)) over (order by turn_id desc) - coalesce(token_count, 0) as newer_tokens
    from (
      select turn_id, parent_turn_id, role, content, token_count from turns
      where conversation_id = $1 and turn_id <= $2 and turn_id >= $5 order by turn_id desc limit $3
    ) newest
  ) counted
  where newer_tokens <= $4 order by turn_id`;

/**
 * Remembers which prompt the engine got, once.
 * @returns false when another attempt has had a different one
 */
export async function storePromptHash(db: Db, turnId: TurnId, sha256: Buffer): Promise<boolean> {
  const stored = await row<{ is_same: boolean }>(
    db,
    `update turn_requests set prompt_sha256 = coalesce(prompt_sha256, $2) where turn_id = $1
     returning prompt_sha256 = $2 as is_same`,
    [turnId, sha256],
  );
  return stored?.is_same ?? true;
}
