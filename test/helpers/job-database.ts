// A database with owners, for jobs that walk through all rows.
import { v7 } from 'uuid';
import { newConversationId, newFactId } from '../../contracts/ids.ts';
import type { ConversationId, FactId, OrgId, TurnId, UserId } from '../../contracts/ids.ts';
import { createPool, rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { createTestDatabase } from './database.ts';

export interface JobDatabase {
  readonly db: Pool;
  readonly url: string;
  newUser(): Promise<{ userId: UserId; orgId: OrgId }>;
  /** Without vectors. */
  addFacts(userId: UserId, texts: readonly string[]): Promise<FactId[]>;
  newConversation(userId: UserId, orgId: OrgId): Promise<ConversationId>;
  /** User turns; their ids have the given times, whose months must have partitions. */
  addTurns(
    conversationId: ConversationId,
    userId: UserId,
    turns: readonly { readonly at: Date; readonly content: string }[],
  ): Promise<TurnId[]>;
  close(): Promise<void>;
}

export async function createJobDatabase(): Promise<JobDatabase> {
  const database = await createTestDatabase();
  const db = createPool({ url: database.url, poolSize: 4 }, () => undefined);
  return {
    db,
    url: database.url,
    newUser: async () => {
      const [made] = await rows<{ user_id: UserId; org_id: OrgId }>(
        db,
        `with org as (insert into organisations (name) values ('jobs') returning org_id)
         insert into users (org_id, name, tier) select org_id, 'jobs', 'paid' from org returning user_id, org_id`,
      );
      if (made === undefined) throw new Error('no user was made');
      return { userId: made.user_id, orgId: made.org_id };
    },
    addFacts: async (userId, texts) => {
      const ids = texts.map(() => newFactId());
      await rows(
        db,
        `insert into user_memory (user_id, fact_id, text)
         select $1, fact_id, text from unnest($2::uuid[], $3::text[]) as v(fact_id, text)`,
        [userId, ids, texts],
      );
      return ids;
    },
    newConversation: async (userId, orgId) => {
      const id = newConversationId();
      await rows(
        db,
        `insert into conversations (conversation_id, user_id, org_id, model, region)
         values ($1, $2, $3, 'colloquy-mini', 'local')`,
        [id, userId, orgId],
      );
      return id;
    },
    addTurns: async (conversationId, userId, turns) => {
      const ids = turns.map(({ at }) => v7({ msecs: at.getTime() }) as TurnId);
      await rows(
        db,
        `insert into turns (turn_id, conversation_id, user_id, role, content)
         select turn_id, $2, $3, 'user', content from unnest($1::uuid[], $4::text[]) as v(turn_id, content)`,
        [ids, conversationId, userId, turns.map(({ content }) => content)],
      );
      return ids;
    },
    close: async () => {
      await db.end();
      await database.drop();
    },
  };
}
