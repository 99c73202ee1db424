// A long conversation whose past is written straight into the store and whose last turns are taken over the public API, at a
// person's pace: each is asked when the summaries that the ones before made due are there.
import type { Client, ScheduleHandle } from '@temporalio/client';
import type { Client as PgClient } from 'pg';
import { newTurnId } from '../../contracts/ids.ts';
import { openConversation, runTimedTurn } from '../load/timed-turn.ts';
import type { RunningSystem } from '../running-system.ts';
import { messageOf, replyOf } from './script.ts';

export interface LongTurn {
  readonly turn: number;
  readonly turnId: string;
  readonly userTurnId: string;
  readonly ttftMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

export interface LongConversation {
  readonly conversationId: string;
  /** Those that were taken. */
  readonly turns: readonly LongTurn[];
}

/** Some summaries take a second or two, those of a whole past a minute or two; a system that makes none is broken. */
const SETTLE_MS = 300_000;
const POLL_MS = 50;

export interface ConversationPlan {
  readonly numTurns: number;
  /** Of them, the last ones, which are taken. */
  readonly numTaken: number;
  /** Of a reply. */
  readonly maxTokens: number;
  readonly windowTokens: number;
  readonly countTokens: (text: string) => Promise<number>;
}

/** @throws Error when a turn is refused or cut */
export async function haveConversation(
  system: RunningSystem,
  temporal: Client,
  db: PgClient,
  { numTurns, numTaken, maxTokens, windowTokens, countTokens }: ConversationPlan,
): Promise<LongConversation> {
  const token = system.tokens['enterprise'] ?? '';
  const sweep = temporal.schedule.getHandle('summary-sweep');
  const conversationId = await openConversation(system.gateway, token);
  await writePast(db, conversationId, numTurns - numTaken, countTokens);
  await settle(sweep, db, conversationId, windowTokens);
  const turns: LongTurn[] = [];
  for (let turn = numTurns - numTaken + 1; turn <= numTurns; turn += 1) {
    const body = { role: 'user', content: messageOf(turn), max_tokens: maxTokens, temperature: 0 };
    const { status, finishReason, ttftMs } = await runTimedTurn(
      system.gateway,
      token,
      conversationId,
      body,
      performance.now(),
    );
    if (status !== 200 || ttftMs === null || finishReason === 'error')
      throw new Error(`turn ${turn} ended with ${status} ${finishReason}`);
    turns.push({ turn, ttftMs, ...(await lastTurnOf(db, conversationId)) });
    await settle(sweep, db, conversationId, windowTokens);
  }
  return { conversationId, turns };
}

/** Exchanges as if they had been had, a row for each message with its count. */
async function writePast(
  db: PgClient,
  conversationId: string,
  numExchanges: number,
  countTokens: (text: string) => Promise<number>,
): Promise<void> {
  let parent: string | null = null;
  for (let at = 0; at < 2 * numExchanges; at += 1) {
    const n = 1 + Math.floor(at / 2);
    const [role, content] = at % 2 === 0 ? ['user', messageOf(n)] : ['assistant', replyOf(n)];
    const id: string = newTurnId();
    await db.query(
      `insert into turns (turn_id, conversation_id, user_id, role, content, token_count, parent_turn_id)
       select $2, conversation_id, user_id, $3, $4, $5, $6 from conversations where conversation_id = $1`,
      [conversationId, id, role, content, await countTokens(content), parent],
    );
    parent = id;
  }
  await db.query(
    'update conversations set active_turn_id = $2, last_turn_at = now() where conversation_id = $1',
    [conversationId, parent],
  );
}

async function lastTurnOf(
  db: PgClient,
  conversationId: string,
): Promise<Omit<LongTurn, 'turn' | 'ttftMs'>> {
  const { rows } = await db.query<{
    turn_id: string;
    parent_turn_id: string;
    usage: { prompt_tokens: number; cached_tokens: number };
  }>(
    `select turn_id, parent_turn_id, usage from turns where conversation_id = $1 order by turn_id desc limit 1`,
    [conversationId],
  );
  const [last] = rows;
  if (last === undefined) throw new Error('the turn was not stored');
  return {
    turnId: last.turn_id,
    userTurnId: last.parent_turn_id,
    promptTokens: last.usage.prompt_tokens,
    cachedTokens: last.usage.cached_tokens,
  };
}

/** Has the schedule look now, and waits until nobody needs to look at the conversation any more. */
async function settle(
  sweep: ScheduleHandle,
  db: PgClient,
  conversationId: string,
  windowTokens: number,
): Promise<void> {
  const { rows } = await db.query<{ is_due: boolean }>(
    `select sum(coalesce(token_count, 0)) >= $2 as is_due from turns t join conversations c using (conversation_id)
     where conversation_id = $1 and turn_id > coalesce(summary_through_turn_id, '00000000-0000-0000-0000-000000000000')`,
    [conversationId, windowTokens],
  );
  if (rows[0]?.is_due !== true) return;
  await sweep.trigger();
  const deadline = Date.now() + SETTLE_MS;
  for (;;) {
    const { rows: seen } = await db.query<{ is_seen: boolean }>(
      'select summary_seen_turn_id = active_turn_id as is_seen from conversations where conversation_id = $1',
      [conversationId],
    );
    if (seen[0]?.is_seen === true) return;
    if (Date.now() > deadline) throw new Error('no sweep has looked at the conversation');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
