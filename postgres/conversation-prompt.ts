// What prompt assembly needs of a conversation's row.
import type { ConversationId } from '../contracts/ids.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

/** The conversation's own system prompt; null when it has none, `missing` when there is no such conversation. */
export async function systemPromptOf(
  db: Db,
  conversationId: ConversationId,
): Promise<string | null | 'missing'> {
  const found = await row<{ system_prompt: string | null }>(
    db,
    'select system_prompt from conversations where conversation_id = $1',
    [conversationId],
  );
  return found === null ? 'missing' : found.system_prompt;
}
