// The pointer to the branch that a conversation goes on with, when its reader chooses another one.
import { firstTurnIdOf } from '../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { changeConversation } from './conversations.ts';
import type { ConversationChange, StoredConversation } from './conversations.ts';
import { turnLinks } from './history.ts';
import type { TurnLink } from './history.ts';
import { row, transaction } from './pool.ts';
import type { Pool } from './pool.ts';
import { runningTurns } from './turn-requests.ts';

export interface MovedTurn {
  /** A turn of the branch. */
  readonly turnId: TurnId;
  /** Which turn the branch through it ends in; null when it cannot be gone on with. */
  readonly endOf: (turns: readonly TurnLink[]) => TurnId | null;
}

export type MoveOutcome =
  | { readonly kind: 'moved'; readonly conversation: StoredConversation }
  | { readonly kind: 'no-conversation' | 'no-turn' | 'no-end' }
  /** Its end would move the pointer again. */
  | { readonly kind: 'running'; readonly turnId: TurnId };

/**
 * Changes a conversation and moves its pointer, both or neither. While it holds the conversation's row no turn is stored and
 * none accepted, so the end that it finds is the end.
 */
export async function moveActiveTurn(
  pool: Pool,
  userId: UserId,
  id: ConversationId,
  { turnId, endOf }: MovedTurn,
  change: ConversationChange,
): Promise<MoveOutcome> {
  return transaction(pool, async (client) => {
    const locked = await row(
      client,
      'select 1 from conversations where conversation_id = $1 and user_id = $2 for no key update',
      [id, userId],
    );
    if (locked === null) return { kind: 'no-conversation' };
    const links = await turnLinks(client, id, firstTurnIdOf(turnId));
    if (!links.some((each) => each.turnId === turnId)) return { kind: 'no-turn' };
    const activeTurnId = endOf(links);
    if (activeTurnId === null) return { kind: 'no-end' };
    const [running] = await runningTurns(client, id);
    if (running !== undefined) return { kind: 'running', turnId: running.turnId };
    const conversation = await changeConversation(client, userId, id, { ...change, activeTurnId });
    return conversation === null ? { kind: 'no-conversation' } : { kind: 'moved', conversation };
  });
}
