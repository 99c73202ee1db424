// Whether a user may go on with a conversation.
import type { ConversationId, OrgId, UserId } from '../contracts/ids.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

export interface Authorized {
  readonly orgId: OrgId;
  readonly tier: string;
}

/** The user's standing and ownership of the conversation, as of now; null when either is gone. */
export async function authorizeTurn(
  db: Db,
  userId: UserId,
  conversationId: ConversationId,
): Promise<Authorized | null> {
  const found = await row<{ org_id: OrgId; tier: string }>(
    db,
    `select u.org_id, u.tier from users u join conversations c using (user_id)
     where u.user_id = $1 and c.conversation_id = $2 and u.disabled_at is null`,
    [userId, conversationId],
  );
  return found === null ? null : { orgId: found.org_id, tier: found.tier };
}
