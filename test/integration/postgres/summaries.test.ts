// Statements around summaries and the turns of a prompt, on a real PostgreSQL.
import { newConversationId, newSummaryId, newTurnId } from '../../../contracts/ids.ts';
import type { ConversationId, OrgId, TurnId, UserId } from '../../../contracts/ids.ts';
import { recentTurns } from '../../../postgres/conversation-prompt.ts';
import { insertConversation } from '../../../postgres/conversations.ts';
import { createPool, rows, transaction } from '../../../postgres/pool.ts';
import type { Pool } from '../../../postgres/pool.ts';
import {
  branchTail,
  claimUnsummarised,
  insertSummary,
  publishSummaries,
} from '../../../postgres/summaries.ts';
import { newestCover } from '../../../postgres/summary-cover.ts';
import { createTestDatabase } from '../../helpers/database.ts';
import type { TestDatabase } from '../../helpers/database.ts';
import { storeBranch } from '../../helpers/stored-branch.ts';

let database: TestDatabase;
let db: Pool;
let user: { user_id: UserId; org_id: OrgId };

beforeAll(async () => {
  database = await createTestDatabase();
  db = createPool({ url: database.url, poolSize: 4 }, () => undefined);
  const [org] = await rows<{ org_id: OrgId }>(
    db,
    `insert into organisations (name) values ('prompts') returning org_id`,
  );
  const [made] = await rows<typeof user>(
    db,
    `insert into users (org_id, name, tier) values ($1, 'prompts', 'paid') returning user_id, org_id`,
    [org?.org_id],
  );
  if (made === undefined) throw new Error('no user');
  user = made;
}, 60_000);
afterAll(async () => {
  await db.end();
  await database.drop();
});

async function conversation(contents: readonly string[]): Promise<[ConversationId, TurnId[]]> {
  const conversationId = newConversationId();
  await insertConversation(db, {
    conversationId,
    userId: user.user_id,
    orgId: user.org_id,
    model: 'colloquy-mini',
    region: 'local',
    systemPrompt: null,
    title: null,
  });
  return [conversationId, await storeBranch(db, conversationId, contents)];
}

const add = (
  conversationId: ConversationId,
  level: number,
  ids: readonly TurnId[],
  [first, last]: readonly [number, number],
): Promise<void> =>
  insertSummary(db, {
    conversationId,
    nodeId: newSummaryId(),
    level,
    parentTurnId: ids[first - 1] ?? null,
    firstTurnId: ids[first] ?? newTurnId(),
    lastTurnId: ids[last] ?? newTurnId(),
    text: `${level}: ${first} to ${last}`,
    tokenCount: 1,
    model: 'none',
  });

const TEXTS = ['u0', 'a0', 'u1', 'a1', 'u2', 'a2', 'u3', 'a3'];

describe('the cover of a branch', () => {
  it('is of the highest summaries that are in force, up to the root, and ends at the newest turn that has one', async () => {
    const [id, ids] = await conversation(TEXTS);
    await add(id, 0, ids, [0, 1]);
    await add(id, 0, ids, [2, 3]);
    await add(id, 1, ids, [0, 3]);
    expect(await newestCover(db, id, ids, 9)).toEqual([]);
    await publishSummaries(db, id, ids[3] ?? newTurnId());
    await add(id, 0, ids, [4, 5]);
    const texts = async (version: number, turnIds = ids): Promise<string[]> =>
      (await newestCover(db, id, turnIds, version)).map(({ text }) => text);
    expect(await texts(1)).toEqual(['1: 0 to 3']);
    await publishSummaries(db, id, ids[5] ?? newTurnId());
    expect(await texts(2)).toEqual(['1: 0 to 3', '0: 4 to 5']);
    expect(await texts(1)).toEqual(['1: 0 to 3']);
    expect(await texts(2, ids.slice(0, 3))).toEqual(['0: 0 to 1']);
    const { cover, tail } = await branchTail(db, id, ids[7] ?? newTurnId());
    expect([cover.map(({ text }) => text), tail.map(({ turnId }) => turnId)]).toEqual([
      ['1: 0 to 3', '0: 4 to 5'],
      ids.slice(6),
    ]);
  });

  it('has each node once, and none of a conversation that is gone', async () => {
    const [id, ids] = await conversation(TEXTS);
    await add(id, 0, ids, [0, 1]);
    await add(id, 0, ids, [0, 1]);
    const count = async (): Promise<number> =>
      (await rows(db, 'select 1 from conversation_summaries where conversation_id = $1', [id]))
        .length;
    expect(await count()).toBe(1);
    await rows(db, 'delete from conversations where conversation_id = $1', [id]);
    expect(await count()).toBe(0);
    await add(id, 0, ids, [0, 1]);
    expect([await count(), await publishSummaries(db, id, newTurnId())]).toEqual([0, false]);
  });
});

describe('claimUnsummarised', () => {
  it('gives what may be too long, marks the rest as seen, and passes over what another holds', async () => {
    await rows(db, 'update conversations set summary_seen_turn_id = active_turn_id');
    const [long, ids] = await conversation(['x'.repeat(60), 'y'.repeat(60)]);
    const [short] = await conversation(['x', 'y']);
    const claimed = async (): Promise<string[]> =>
      (await claimUnsummarised(db, 100, 10)).map(({ conversationId }) => conversationId);
    await transaction(db, async (client) => {
      await rows(client, 'select 1 from conversations where conversation_id = $1 for update', [
        long,
      ]);
      expect(await claimed()).toEqual([]);
    });
    const seen = await rows<{ conversation_id: string }>(
      db,
      'select conversation_id from conversations where conversation_id = any($1) and summary_seen_turn_id = active_turn_id',
      [[long, short]],
    );
    expect(seen.map((each) => each.conversation_id)).toEqual([short]);
    expect(await claimed()).toEqual([long]);
    // What is summarised does not weigh any more.
    await publishSummaries(db, long, ids[1] ?? newTurnId());
    expect(await claimed()).toEqual([]);
  });
});

describe('recentTurns', () => {
  it('ends at the turn it was asked for, and begins where turns or tokens are enough', async () => {
    const [id, ids] = await conversation(TEXTS);
    const read = async (upTo: number, limit: number, maxTokens: number): Promise<string[]> =>
      (await recentTurns(db, id, ids[upTo] ?? newTurnId(), limit, maxTokens)).map(
        ({ content }) => content,
      );
    expect(await read(6, 3, 100)).toEqual(['u2', 'a2', 'u3']);
    // Each is counted as two tokens; the one that goes over the bound is there.
    expect(await read(6, 100, 3)).toEqual(['a2', 'u3']);
    expect(await read(6, 100, 4)).toEqual(['u2', 'a2', 'u3']);
  });
});
