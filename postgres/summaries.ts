// Summaries in the making: which conversations may lack some, what they are made of, and their coming into force together.
import type { UnsummarisedConversation } from '../contracts/background-work.ts';
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { row, rows, transaction } from './pool.ts';
import type { Db, Pool } from './pool.ts';
import { newestCover } from './summary-cover.ts';
import type { SummaryRow } from './summary-cover.ts';

/**
 * Looks at conversations that have changed since somebody looked, longest unchanged first; several who look at once divide
 * them. Those that cannot lack summaries are marked as seen.
 * @param minTokens turns behind the last summary with fewer tokens lack none
 * @returns those that may lack some
 */
export async function claimUnsummarised(
  db: Db,
  minTokens: number,
  limit: number,
): Promise<UnsummarisedConversation[]> {
  const found = await rows<{
    conversation_id: ConversationId;
    user_id: UserId;
    active_turn_id: TurnId;
    model: string;
  }>(db, CLAIM_UNSUMMARISED, [limit, minTokens]);
  return found.map((each) => ({
    conversationId: each.conversation_id,
    userId: each.user_id,
    lastTurnId: each.active_turn_id,
    model: each.model,
  }));
}

// Tokens of other branches count too: it errs on the side of looking closer.
const CLAIM_UNSUMMARISED = `
  with changed as (
    select conversation_id, user_id, active_turn_id, model, summary_through_turn_id from conversations
    where active_turn_id is not null and summary_seen_turn_id is distinct from active_turn_id and serves_owner(user_id)
    order by last_turn_at limit $1 for update skip locked
  ), weighed as (
    select *, (
      select coalesce(sum(coalesce(token_count, length(content) / 3)), 0) from turns t
      where t.conversation_id = changed.conversation_id
        and t.turn_id > coalesce(changed.summary_through_turn_id, '00000000-0000-0000-0000-000000000000')
    ) >= $2 as may_lack
    from changed
  ), seen as (
    update conversations c set summary_seen_turn_id = w.active_turn_id
    from weighed w where c.conversation_id = w.conversation_id and not w.may_lack
  )
  select conversation_id, user_id, active_turn_id, model from weighed where may_lack`;

/** Nobody needs to look at the conversation again until it goes on from `turnId`. */
export async function markSeen(
  db: Db,
  conversationId: ConversationId,
  turnId: TurnId,
): Promise<void> {
  await rows(
    db,
    'update conversations set summary_seen_turn_id = $2 where conversation_id = $1 and active_turn_id = $2',
    [conversationId, turnId],
  );
}

/** A turn behind the last summary. */
export interface TailRow {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  readonly tokens: number;
}

export interface BranchTail {
  /** What tells the branch up to the tail, oldest first. */
  readonly cover: readonly SummaryRow[];
  /** Oldest first. */
  readonly tail: readonly TailRow[];
}

/** The branch that ends in a turn, from the last summary that is in force on. */
export async function branchTail(
  db: Db,
  conversationId: ConversationId,
  leafId: TurnId,
): Promise<BranchTail> {
  const found = await rows<{
    turn_id: TurnId;
    parent_turn_id: TurnId | null;
    role: 'user' | 'assistant';
    tokens: number;
  }>(db, BRANCH_TAIL, [conversationId, leafId]);
  const tail = found.map((each) => ({
    turnId: each.turn_id,
    parentTurnId: each.parent_turn_id,
    role: each.role,
    tokens: each.tokens,
  }));
  const before = tail[0]?.parentTurnId ?? null;
  const cover = before === null ? [] : await newestCover(db, conversationId, [before], LATEST);
  return { cover, tail };
}

/** Above every version. */
const LATEST = 2 ** 31 - 1;

const BRANCH_TAIL = `
  with recursive branch as (
    select turn_id, parent_turn_id, role, coalesce(token_count, length(content) / 3) as tokens, 1 as depth from turns
    where conversation_id = $1 and turn_id = $2
    union all
    select t.turn_id, t.parent_turn_id, t.role, coalesce(t.token_count, length(t.content) / 3), branch.depth + 1
    from branch join turns t on t.conversation_id = $1 and t.turn_id = branch.parent_turn_id
    where not exists (
      select from conversation_summaries s
      where s.conversation_id = $1 and s.last_turn_id = branch.parent_turn_id and s.version is not null)
  )
  select turn_id, parent_turn_id, role, tokens from branch order by depth desc`;

export interface SummaryKeys {
  readonly conversationId: ConversationId;
  readonly level: number;
  readonly firstTurnId: TurnId;
  readonly lastTurnId: TurnId;
}

/** Whether the summary has been made, in force or not. */
export async function isSummaryMade(db: Db, node: SummaryKeys): Promise<boolean> {
  const found = await row(
    db,
    `select 1 from conversation_summaries
     where conversation_id = $1 and last_turn_id = $2 and level = $3 and first_turn_id = $4`,
    [node.conversationId, node.lastTurnId, node.level, node.firstTurnId],
  );
  return found !== null;
}

/** The texts of a path of turns, oldest first. */
export async function turnsOfPath(
  db: Db,
  { conversationId, firstTurnId, lastTurnId }: SummaryKeys,
): Promise<{ readonly role: 'user' | 'assistant'; readonly text: string }[]> {
  return rows(db, TURNS_OF_PATH, [conversationId, lastTurnId, firstTurnId]);
}

const TURNS_OF_PATH = `
  with recursive path as (
    select turn_id, parent_turn_id, role, content, 1 as depth from turns where conversation_id = $1 and turn_id = $2
    union all
    select t.turn_id, t.parent_turn_id, t.role, t.content, path.depth + 1
    from path join turns t on t.conversation_id = $1 and t.turn_id = path.parent_turn_id
    where path.turn_id <> $3
  )
  select role, content as text from path order by depth desc`;

/** The texts of the summaries of one level that end at some turns, oldest first. */
export async function summariesEndingAt(
  db: Db,
  conversationId: ConversationId,
  level: number,
  lastTurnIds: readonly TurnId[],
): Promise<string[]> {
  const found = await rows<{ text: string }>(
    db,
    `select distinct on (last_turn_id) text from conversation_summaries
     where conversation_id = $1 and level = $2 and last_turn_id = any($3::uuid[])
     order by last_turn_id, version nulls first`,
    [conversationId, level, lastTurnIds],
  );
  return found.map(({ text }) => text);
}

export interface NewSummary extends SummaryKeys {
  readonly nodeId: string;
  readonly parentTurnId: TurnId | null;
  readonly text: string;
  readonly tokenCount: number;
  readonly model: string;
}

/** Stores a summary that is not in force yet; a repeat changes nothing, and nothing is stored for a deleted conversation. */
export async function insertSummary(db: Db, node: NewSummary): Promise<void> {
  await rows(db, INSERT_SUMMARY, [
    node.conversationId,
    node.nodeId,
    node.level,
    node.parentTurnId,
    node.firstTurnId,
    node.lastTurnId,
    node.text,
    node.tokenCount,
    node.model,
  ]);
}

const INSERT_SUMMARY = `
  insert into conversation_summaries (conversation_id, node_id, level, parent_turn_id, first_turn_id, last_turn_id, text,
    token_count, model)
  select conversation_id, $2, $3, $4, $5, $6, $7, $8, $9 from conversations where conversation_id = $1
  on conflict do nothing`;

/**
 * All that were made since come into force, for turns that are accepted from now on, and tell everything up to `through`.
 * @returns false when the conversation is gone
 */
export async function publishSummaries(
  pool: Pool,
  conversationId: ConversationId,
  through: TurnId,
): Promise<boolean> {
  return transaction(pool, async (client) => {
    // The row's lock is what acceptance takes too: a turn sees all of a version or none of it.
    const locked = await row<{ summary_version: number }>(
      client,
      `update conversations set summary_version = summary_version + 1, summary_through_turn_id = $2
       where conversation_id = $1 returning summary_version`,
      [conversationId, through],
    );
    if (locked === null) return false;
    await rows(
      client,
      'update conversation_summaries set version = $2 where conversation_id = $1 and version is null',
      [conversationId, locked.summary_version],
    );
    return true;
  });
}
