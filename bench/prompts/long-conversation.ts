// A conversation over the public API, turn by turn at a person's pace: each turn is asked when the summaries that the ones
// before made due are there.
import type { Client, ScheduleHandle } from '@temporalio/client';
import type { Client as PgClient } from 'pg';
import { openConversation, runTimedTurn } from '../load/timed-turn.ts';
import type { RunningSystem } from '../running-system.ts';
import { messageOf } from './script.ts';

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
  readonly userId: string;
  readonly turns: readonly LongTurn[];
}

/** A sweep and some summaries take a second or two; a system that makes none is broken. */
const SETTLE_MS = 60_000;
const POLL_MS = 50;

/** @throws Error when a turn is refused or cut */
export async function haveConversation(
  system: RunningSystem,
  temporal: Client,
  db: PgClient,
  numTurns: number,
  maxTokens: number,
  windowTokens: number,
): Promise<LongConversation> {
  const token = system.tokens['enterprise'] ?? '';
  const sweep = temporal.schedule.getHandle('summary-sweep');
  const conversationId = await openConversation(system.gateway, token);
  const turns: LongTurn[] = [];
  for (let turn = 1; turn <= numTurns; turn += 1) {
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
  const { rows } = await db.query<{ user_id: string }>(
    'select user_id from conversations where conversation_id = $1',
    [conversationId],
  );
  return { conversationId, userId: rows[0]?.user_id ?? '', turns };
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
