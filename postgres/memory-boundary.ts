// How far memory extraction has read each conversation, and who reads which next.
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

export interface UnreadConversation {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly lastTurnId: TurnId;
  readonly model: string;
}

/**
 * Takes conversations that are silent for `idleMs` and have turns beyond their boundary, longest silent first. What is taken
 * here no other sweep takes for `claimMs`, so that an extraction that is lost is begun again, and two sweeps at once
 * neither wait for each other nor begin the same.
 */
export async function claimIdleConversations(
  db: Db,
  { idleMs, claimMs, limit }: { idleMs: number; claimMs: number; limit: number },
): Promise<UnreadConversation[]> {
  const idle = await rows<{
    conversation_id: ConversationId;
    user_id: UserId;
    active_turn_id: TurnId;
    model: string;
  }>(db, CLAIM, [idleMs / 1000, limit, claimMs / 1000]);
  return idle.map((each) => ({
    conversationId: each.conversation_id,
    userId: each.user_id,
    lastTurnId: each.active_turn_id,
    model: each.model,
  }));
}

// A conversation that was turned back to an older branch has a last turn before its boundary: nothing is new there. The first
// of the two conditions is the index's.
const CLAIM = `
  update conversations set memory_claimed_until = now() + make_interval(secs => $3)
  where conversation_id in (
    select conversation_id from conversations
    where active_turn_id is not null and memory_through_turn_id is distinct from active_turn_id
      and (memory_through_turn_id is null or memory_through_turn_id < active_turn_id)
      and last_turn_at < now() - make_interval(secs => $1)
      and (memory_claimed_until is null or memory_claimed_until < now()) and serves_owner(user_id)
    order by last_turn_at limit $2 for update skip locked
  )
  returning conversation_id, user_id, active_turn_id, model`;

/** Moves the boundary forward only; false when it was already there or beyond, or the conversation is gone. */
export async function advanceMemoryBoundary(
  db: Db,
  conversationId: ConversationId,
  through: TurnId,
): Promise<boolean> {
  const moved = await row(
    db,
    `update conversations set memory_through_turn_id = $2, memory_claimed_until = null
     where conversation_id = $1 and (memory_through_turn_id is null or memory_through_turn_id < $2)
     returning conversation_id`,
    [conversationId, through],
  );
  return moved !== null;
}
