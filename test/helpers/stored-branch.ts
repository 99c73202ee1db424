// A conversation with a past, written straight into the store: what would take hundreds of turns to say.
import type { ConversationId, TurnId } from '../../contracts/ids.ts';
import { newTurnId } from '../../contracts/ids.ts';
import { rows } from '../../postgres/pool.ts';
import type { Db } from '../../postgres/pool.ts';

/**
 * Appends turns below `parent` (user, assistant, … from its role on), counted as one token a character, and makes the last
 * one active.
 * @returns their ids, in order
 */
export async function storeBranch(
  db: Db,
  conversationId: ConversationId,
  contents: readonly string[],
  parent: TurnId | null = null,
): Promise<TurnId[]> {
  const ids = contents.map(() => newTurnId());
  const [above] = await rows<{ role: string }>(db, 'select role from turns where turn_id = $1', [
    parent,
  ]);
  const first = above?.role === 'user' ? 1 : 0;
  await rows(
    db,
    `insert into turns (turn_id, conversation_id, user_id, role, content, token_count, parent_turn_id)
     select t.id, c.conversation_id, c.user_id, case when (t.n + $5) % 2 = 1 then 'user' else 'assistant' end, t.content,
       length(t.content), t.parent
     from conversations c, unnest($2::uuid[], $3::text[], $4::uuid[]) with ordinality as t(id, content, parent, n)
     where c.conversation_id = $1`,
    [conversationId, ids, contents, ids.map((_, at) => ids[at - 1] ?? parent), first],
  );
  await rows(
    db,
    'update conversations set active_turn_id = $2, last_turn_at = now() where conversation_id = $1',
    [conversationId, ids.at(-1)],
  );
  return ids;
}
