// Users, conversations and turns as rows, for tests of memory without a turn path, and an extraction over them.
import { randomUUID } from 'node:crypto';
import { createExtractionActivities } from '../../activities/memory-extraction.ts';
import type { FactJudge } from '../../activities/fact-judge.ts';
import type { ExtractionReport, IdleConversation } from '../../contracts/background-work.ts';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { RuleFactGuard } from '../../moderation/fact-guard.ts';
import { createPool, rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { createTurnPartitions } from '../../postgres/partitions.ts';
import { singleStore } from '../../postgres/stores.ts';
import { createLogger } from '../../process/logger.ts';
import { createTestDatabase } from './database.ts';
import { hashEmbedder } from './hash-embedder.ts';

export interface Said {
  readonly userTurnId: TurnId;
  readonly replyId: TurnId;
}

export interface MemoryWorld {
  readonly db: Pool;
  newUser(): Promise<UserId>;
  newConversation(userId: UserId): Promise<ConversationId>;
  /** A message and its reply behind `parent`, or behind what was said last; it becomes the active branch. */
  say(
    conversationId: ConversationId,
    content: string,
    more?: { parent?: TurnId | null; finishReason?: string },
  ): Promise<Said>;
  extract(conversationId: ConversationId): Promise<ExtractionReport>;
  /** Makes the store forget how far the conversation was read. */
  loseBoundary(conversationId: ConversationId): Promise<void>;
  /** Visible facts' texts, sorted. */
  facts(userId: UserId): Promise<string[]>;
  /** Everything that is stored of a user's memory. */
  dump(userId: UserId): Promise<unknown>;
  close(): Promise<void>;
}

export async function createMemoryWorld(judge: FactJudge | null = null): Promise<MemoryWorld> {
  const database = await createTestDatabase();
  const db = createPool({ url: database.url, poolSize: 10 }, () => undefined);
  await createTurnPartitions(db);
  const [org] = await rows<{ org_id: string }>(
    db,
    `insert into organisations (name) values ('memory') returning org_id`,
  );
  const { extractFacts } = createExtractionActivities({
    stores: singleStore(db),
    logger: createLogger('test', { logLevel: 'fatal', processName: '' }),
    guard: new RuleFactGuard(),
    judge,
    embedder: () => hashEmbedder(),
  });
  const addTurn = async (values: readonly unknown[]): Promise<void> =>
    void (await rows(
      db,
      `insert into turns (turn_id, conversation_id, user_id, role, content, parent_turn_id, finish_reason)
       values ($1, $2, (select user_id from conversations where conversation_id = $2), $3, $4, $5, $6)`,
      values,
    ));
  const idleOf = async (conversationId: ConversationId): Promise<IdleConversation> => {
    const [found] = await rows<{ user_id: UserId; active_turn_id: TurnId }>(
      db,
      'select user_id, active_turn_id from conversations where conversation_id = $1',
      [conversationId],
    );
    if (found === undefined) throw new Error('no such conversation');
    const { user_id: userId, active_turn_id: lastTurnId } = found;
    return { conversationId, userId, lastTurnId, taskQueue: 'gen.mini' };
  };
  return {
    db,
    newUser: async () => {
      const [user] = await rows<{ user_id: UserId }>(
        db,
        `insert into users (org_id, name, tier) values ($1, $2, 'paid') returning user_id`,
        [org?.org_id, randomUUID()],
      );
      if (user === undefined) throw new Error('no user');
      return user.user_id;
    },
    newConversation: async (userId) => {
      const id = newConversationId();
      await rows(
        db,
        `insert into conversations (conversation_id, user_id, org_id, model, region) values ($1, $2, $3, 'colloquy-mini', 'local')`,
        [id, userId, org?.org_id],
      );
      return id;
    },
    say: async (conversationId, content, more = {}) => {
      const [last] = await rows<{ active_turn_id: TurnId | null }>(
        db,
        'select active_turn_id from conversations where conversation_id = $1',
        [conversationId],
      );
      const parent = more.parent === undefined ? (last?.active_turn_id ?? null) : more.parent;
      const [userTurnId, replyId] = [newTurnId(), newTurnId()];
      await addTurn([userTurnId, conversationId, 'user', content, parent, null]);
      const finish = more.finishReason ?? 'stop';
      await addTurn([replyId, conversationId, 'assistant', 'I see.', userTurnId, finish]);
      await rows(
        db,
        `update conversations set active_turn_id = $2, last_turn_at = now() - interval '1 hour' where conversation_id = $1`,
        [conversationId, replyId],
      );
      return { userTurnId, replyId };
    },
    extract: async (conversationId) => extractFacts(await idleOf(conversationId)),
    loseBoundary: async (conversationId) =>
      void (await rows(
        db,
        'update conversations set memory_through_turn_id = null where conversation_id = $1',
        [conversationId],
      )),
    facts: async (userId) => {
      const found = await rows<{ text: string }>(
        db,
        'select text from user_memory where user_id = $1 and superseded_by is null order by text collate "C"',
        [userId],
      );
      return found.map(({ text }) => text);
    },
    dump: async (userId) => ({
      facts: await rows(db, 'select * from user_memory where user_id = $1 order by fact_id', [
        userId,
      ]),
      sources: await rows(
        db,
        'select * from memory_sources where user_id = $1 order by source_turn_id, text_hash',
        [userId],
      ),
    }),
    close: async () => {
      await db.end();
      await database.drop();
    },
  };
}
