// One database or several: the same statements have the same answers.
import { createHash } from 'node:crypto';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId } from '../../contracts/ids.ts';
import type { AcceptedTurn } from '../../contracts/turn-request.ts';
import {
  changeConversation,
  findConversation,
  findConversationWithRunning,
  insertConversation,
  listConversations,
} from '../../postgres/conversations.ts';
import { deleteConversation } from '../../postgres/erasure.ts';
import { promptRequest, recentTurns } from '../../postgres/conversation-prompt.ts';
import { historyPage } from '../../postgres/history.ts';
import { claimIdleConversations } from '../../postgres/memory-boundary.ts';
import { changeFacts, listFacts } from '../../postgres/memory-facts.ts';
import {
  acceptTurn,
  findRequestByKey,
  findRequestOfReply,
  joinRequest,
  openRequests,
  runningTurns,
  withdrawRequest,
} from '../../postgres/turn-requests.ts';
import { authorizeTurn } from '../../postgres/standing.ts';
import { findReplies, openTurn, storeAssistantTurn } from '../../postgres/turns.ts';
import { usageOf } from '../../postgres/usage.ts';
import type { Stores } from '../../postgres/stores.ts';
import { newOwner, userIdIn } from '../helpers/owners.ts';
import type { Owner } from '../helpers/owners.ts';
import { createTestShards, openTestStores } from '../helpers/shards.ts';
import type { TestShards } from '../helpers/shards.ts';
import { plainParams } from '../helpers/turn-params.ts';

const PARAMS = plainParams(10);

/** Ids are given, so that two runs differ only in their clocks. */
interface Ids {
  readonly conversation: ConversationId;
  readonly turns: readonly TurnId[];
}

const newIds = (): Ids => ({
  conversation: newConversationId(),
  turns: Array.from({ length: 6 }, () => newTurnId()),
});

/** What one owner's life asks of the store, with every answer. */
async function script(stores: Stores, { userId, orgId }: Owner, ids: Ids): Promise<unknown[]> {
  const { conversation: id, turns } = ids;
  const [user1, reply1, user2, reply2, user3, reply3] = turns as [
    TurnId,
    TurnId,
    TurnId,
    TurnId,
    TurnId,
    TurnId,
  ];
  const db = stores.primaryOf(userId);
  const answers: unknown[] = [];
  const tell = async (answer: Promise<unknown>): Promise<void> => void answers.push(await answer);
  const request = (userTurnId: TurnId, turnId: TurnId, parent: TurnId | null): AcceptedTurn => ({
    turnId,
    userTurnId,
    conversationId: id,
    userId,
    parentTurnId: parent,
    replacesTurnId: null,
    isRegeneration: false,
    content: `question ${userTurnId}\u{1f600} "quoted"`,
    params: PARAMS,
    model: 'colloquy-mini',
    pool: 'mini',
    idempotencyKey: `key-${turnId}`,
    bodyHash: createHash('sha256').update(turnId).digest(),
  });
  const end = (turnId: TurnId): Promise<unknown> =>
    storeAssistantTurn(db, {
      turnId,
      model: 'colloquy-mini',
      servedModel: 'fake',
      pool: 'mini',
      finishReason: 'stop',
      usage: { promptTokens: 3, completionTokens: 2, cachedTokens: 1 },
      costUsd: 0.000000123,
      verdict: null,
      continuation: null,
      samples: [
        {
          turnId,
          content: 'an answer',
          finishReason: 'stop',
          errorCode: null,
          usage: { promptTokens: 3, completionTokens: 2, cachedTokens: 1 },
          costUsd: 0.000000123,
          streamOffsets: [0, 2, 9],
        },
      ],
    });
  await tell(findConversation(db, userId, id));
  await tell(
    insertConversation(db, {
      conversationId: id,
      userId,
      orgId,
      model: 'colloquy-mini',
      region: 'local',
      systemPrompt: null,
      title: null,
    }),
  );
  await tell(acceptTurn(db, request(user1, reply1, null), true));
  await tell(acceptTurn(db, request(user2, reply2, null), true));
  await tell(findConversationWithRunning(db, userId, id));
  await tell(runningTurns(db, id));
  await tell(joinRequest(db, reply1));
  await tell(authorizeTurn(db, userId, id));
  await tell(openTurn(db, reply1));
  await tell(openTurn(db, reply1));
  await tell(promptRequest(db, { turnId: reply1, conversationId: id }, true));
  await tell(recentTurns(db, id, user1, 10, 1000));
  await tell(end(reply1));
  await tell(end(reply1));
  await tell(acceptTurn(db, request(user2, reply2, reply1), true));
  await tell(withdrawRequest(db, reply2));
  await tell(withdrawRequest(db, reply2));
  await tell(acceptTurn(db, request(user3, reply3, reply1), true));
  await tell(openTurn(db, reply3));
  await tell(end(reply3));
  await tell(findReplies(db, id, reply3));
  await tell(findRequestByKey(db, userId, `key-${reply3}`));
  await tell(findRequestByKey(db, userId, `key-${reply2}`));
  await tell(findRequestOfReply(db, reply3));
  await tell(changeConversation(db, userId, id, { title: 'new', isArchived: true }));
  await tell(stores.readerOf(userId, id).then((reader) => historyPage(reader, id, null, null, 3)));
  await tell(
    stores.readerOf(userId, null).then((reader) => listConversations(reader, userId, null, 10)),
  );
  await tell(
    changeFacts(
      db,
      userId,
      { add: [{ text: 'likes tea', vector: null }], edit: [], remove: [] },
      null,
    ).then((facts) => facts.length),
  );
  await tell(listFacts(db, userId).then((facts) => facts.map(({ text }) => text)));
  await tell(usageOf(db, userId));
  await tell(
    Promise.all(
      stores.primaries.map((each) =>
        claimIdleConversations(each, { idleMs: 0, claimMs: 1000, limit: 100 }),
      ),
    ).then((found) => found.flat().filter((each) => each.userId === userId)),
  );
  await tell(
    Promise.all(stores.primaries.map((each) => openRequests(each, 0, 100))).then((found) =>
      found.flat().filter((each) => each.userId === userId),
    ),
  );
  await tell(
    deleteConversation(db, userId, id).then((deleted) =>
      deleted?.turns.toSorted((a, b) => turns.indexOf(a.turnId) - turns.indexOf(b.turnId)),
    ),
  );
  await tell(findConversation(db, userId, id));
  await tell(end(reply3));
  return answers;
}

/** Times differ between runs. */
const timeless = (answers: unknown[]): string =>
  JSON.stringify(answers, (_, value: unknown) =>
    typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? 'a time' : value,
  );

describe('stores', () => {
  let shards: TestShards;
  let single: TestShards;
  let opened: { single: Stores; sharded: Stores };

  beforeAll(async () => {
    [shards, single] = [await createTestShards(2), await createTestShards(1)];
    opened = { single: openTestStores(single.urls, 3), sharded: openTestStores(shards.urls, 3) };
  });

  afterAll(async () => {
    await Promise.all([opened.single.end(), opened.sharded.end()]);
    await shards.drop();
    await single.drop();
  });

  it.each([0, 1])(
    'answer the same for one database and for two, owner on shard %d',
    async (slot) => {
      const [userId, ids] = [userIdIn(slot), newIds()];
      const answers = await Promise.all(
        [opened.single, opened.sharded].map(async (stores) => {
          const owner = await newOwner(stores.directory, userId);
          const found = timeless(await script(stores, owner, ids));
          return found.replaceAll(owner.orgId, 'the organisation');
        }),
      );
      expect(answers[1]).toBe(answers[0]);
      expect(answers[0]).toContain('an answer');
    },
  );

  it('keep an owner’s rows on one shard only, and find a conversation by its owner, not by its id', async () => {
    const { sharded } = opened;
    const owner = await newOwner(sharded.directory, userIdIn(1));
    const conversationId = newConversationId();
    await insertConversation(sharded.primaryOf(owner.userId), {
      ...owner,
      conversationId,
      model: 'colloquy-mini',
      region: 'local',
      systemPrompt: null,
      title: null,
    });
    const found = await Promise.all(
      sharded.primaries.map((db) => findConversation(db, owner.userId, conversationId)),
    );
    expect(found.map((each) => each?.conversationId ?? null)).toEqual([null, conversationId]);
    const stranger = userIdIn(0);
    expect(
      await findConversation(sharded.primaryOf(stranger), stranger, conversationId),
    ).toBeNull();
  });
});
