// What prompt assembly needs, read in one statement.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import { turnParams } from '../contracts/turn-request.ts';
import type { TurnParams } from '../contracts/turn-request.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

export interface PromptRows {
  readonly params: TurnParams;
  /** The conversation's own; null when it has none. */
  readonly systemPrompt: string | null;
  /** The newest turns at or before the user's, oldest first: enough to walk a branch up from there. */
  readonly turns: readonly PromptTurnRow[];
}

export interface PromptTurnRow {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

export interface PromptKeys {
  readonly turnId: TurnId;
  readonly userTurnId: TurnId;
  readonly conversationId: ConversationId;
}

/** Null when the conversation is gone or the turn has ended. @param limit most turns that are read */
export async function promptRows(
  db: Db,
  { turnId, userTurnId, conversationId }: PromptKeys,
  limit: number,
): Promise<PromptRows | null> {
  const found = await row<{
    params: unknown;
    system_prompt: string | null;
    turns: PromptTurnRow[] | null;
  }>(db, PROMPT_ROWS, [turnId, conversationId, userTurnId, limit]);
  if (found === null) return null;
  const { params, system_prompt: systemPrompt, turns } = found;
  return { params: turnParams.parse(params), systemPrompt, turns: turns ?? [] };
}

const PROMPT_ROWS = `
  select r.params, c.system_prompt, (
    select json_agg(json_build_object(
      'turnId', turn_id, 'parentTurnId', parent_turn_id, 'role', role, 'content', content) order by turn_id)
    from (
      select turn_id, parent_turn_id, role, content from turns
      where conversation_id = $2 and turn_id <= $3 order by turn_id desc limit $4
    ) newest
  ) as turns
  from turn_requests r join conversations c using (conversation_id)
  where r.turn_id = $1 and r.conversation_id = $2 and r.ended_at is null`;
