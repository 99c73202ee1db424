// How far memory extraction has read each conversation.
import type { IdleConversation } from '../contracts/background-work.ts';
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

/** Conversations silent for `idleMs` with turns beyond their boundary, longest silent first. */
export async function idleConversations(
  db: Db,
  idleMs: number,
  limit: number,
): Promise<IdleConversation[]> {
  const idle = await rows<{
    conversation_id: ConversationId;
    user_id: UserId;
    active_turn_id: TurnId;
  }>(
    db,
    `select conversation_id, user_id, active_turn_id from conversations
     where active_turn_id is not null and memory_through_turn_id is distinct from active_turn_id
       and last_turn_at < now() - make_interval(secs => $1) and serves_owner(user_id)
     order by last_turn_at limit $2`,
    [idleMs / 1000, limit],
  );
  return idle.map((each) => ({
    conversationId: each.conversation_id,
    userId: each.user_id,
    lastTurnId: each.active_turn_id,
  }));
}

/** Moves the boundary forward only; false when it was already there or beyond, or the conversation is gone. */
export async function advanceMemoryBoundary(
  db: Db,
  conversationId: ConversationId,
  through: TurnId,
): Promise<boolean> {
  const moved = await row(
    db,
    `update conversations set memory_through_turn_id = $2
     where conversation_id = $1 and (memory_through_turn_id is null or memory_through_turn_id < $2)
     returning conversation_id`,
    [conversationId, through],
  );
  return moved !== null;
}
