// All that is kept of a user as the pieces of one JSON object: however much it is, a page of it is in memory.
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { conversationsAfter } from '../postgres/conversations.ts';
import { listFacts } from '../postgres/memory-facts.ts';
import type { Profile } from '../postgres/profile.ts';
import type { Db } from '../postgres/pool.ts';
import { turnsAfter } from '../postgres/turns.ts';
import { usageOf } from '../postgres/usage.ts';
import { wireConversation, wireFacts, wireTurn, wireUsageReport } from './wire.ts';

const CONVERSATIONS_A_PAGE = 50;
/** A turn may be a quarter of a megabyte. */
const TURNS_A_PAGE = 20;

/**
 * Pieces that, joined, are the object `userExport` of contracts/api.ts.
 * @throws AppError STORAGE_UNAVAILABLE: the object stays unfinished then, and so is no JSON
 */
export async function* exportPieces(db: Db, profile: Profile): AsyncGenerator<string> {
  const { userId } = profile;
  const head = {
    exported_at: new Date().toISOString(),
    user: {
      user_id: userId,
      org_id: profile.orgId,
      name: profile.name,
      tier: profile.tier,
      role: profile.role,
      created_at: profile.createdAt.toISOString(),
    },
    facts: wireFacts(await listFacts(db, userId)),
    usage: wireUsageReport(await usageOf(db, userId)),
  };
  yield `${JSON.stringify(head).slice(0, -1)},"conversations":[`;
  yield* conversations(db, userId);
  yield ']}';
}

async function* conversations(db: Db, userId: UserId): AsyncGenerator<string> {
  let separator = '';
  let after: ConversationId | null = null;
  do {
    const page = await conversationsAfter(db, userId, after, CONVERSATIONS_A_PAGE);
    for (const each of page) {
      yield `${separator}${JSON.stringify(wireConversation(each)).slice(0, -1)},"turns":[`;
      yield* turns(db, each.conversationId);
      yield ']}';
      separator = ',';
    }
    after = page.at(-1)?.conversationId ?? null;
  } while (after !== null);
}

async function* turns(db: Db, conversationId: ConversationId): AsyncGenerator<string> {
  let separator = '';
  let after: TurnId | null = null;
  do {
    const page = await turnsAfter(db, conversationId, after, TURNS_A_PAGE);
    for (const turn of page) {
      yield `${separator}${JSON.stringify(wireTurn(turn))}`;
      separator = ',';
    }
    after = page.at(-1)?.turnId ?? null;
  } while (after !== null);
}
