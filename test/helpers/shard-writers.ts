// Writers that live through slot moves: each posts turn after turn for a user of its own and reads what it wrote.
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { insertConversation } from '../../postgres/conversations.ts';
import { historyPage } from '../../postgres/history.ts';
import { changeFacts } from '../../postgres/memory-facts.ts';
import { acceptTurn } from '../../postgres/turn-requests.ts';
import { openTurn, storeAssistantTurn } from '../../postgres/turns.ts';
import { rows } from '../../postgres/pool.ts';
import type { Db } from '../../postgres/pool.ts';
import type { Stores } from '../../postgres/stores.ts';
import type { Owner } from './owners.ts';
import { plainParams } from './turn-params.ts';

const PARAMS = plainParams(10);

export interface Written {
  readonly userId: UserId;
  readonly conversationId: ConversationId;
  /** Replies whose storing was acknowledged, in order. */
  readonly replies: TurnId[];
  readonly facts: string[];
  /** How long each statement took to be answered, ms. */
  readonly waits: number[];
  /** A read that did not see what this writer had been told is stored. */
  readonly staleReads: number;
  /** Failures of statements; each was tried again, as an activity would. */
  readonly failures: string[];
}

/** Writes until `isDone`, then resolves with everything that was acknowledged. */
export async function writeThrough(
  stores: Stores,
  owner: Owner,
  isDone: (numTurns: number) => boolean,
  /** Between turns: writers that never rest keep the mover from its work on a small machine. */
  restMs: number,
): Promise<Written> {
  const { userId } = owner;
  const conversationId = newConversationId();
  const replies: TurnId[] = [];
  const facts: string[] = [];
  const waits: number[] = [];
  const failures: string[] = [];
  let staleReads = 0;
  const timed = async <Result>(ask: () => Promise<Result>): Promise<Result> => {
    for (;;) {
      const since = performance.now();
      try {
        return await ask();
      } catch (error) {
        if (failures.length >= 20) throw error;
        failures.push(String((error as Error).cause ?? error));
      } finally {
        waits.push(performance.now() - since);
      }
    }
  };
  await timed(() =>
    insertConversation(stores.primaryOf(userId), {
      ...owner,
      conversationId,
      model: 'colloquy-mini',
      region: 'local',
      systemPrompt: null,
      title: null,
    }),
  );
  while (!isDone(replies.length)) {
    await pause(restMs);
    const [userTurnId, turnId] = [newTurnId(), newTurnId()];
    const accepted = await timed(() =>
      acceptTurn(
        stores.primaryOf(userId),
        {
          turnId,
          userTurnId,
          conversationId,
          userId,
          parentTurnId: replies.at(-1) ?? null,
          replacesTurnId: null,
          isRegeneration: false,
          content: `question ${replies.length}`,
          params: PARAMS,
          model: 'colloquy-mini',
          pool: 'mini',
          idempotencyKey: randomUUID(),
          bodyHash: null,
        },
        true,
      ),
    );
    if (accepted !== 'accepted') failures.push(`accept: ${accepted}`);
    const opened = await timed(() => openTurn(stores.primaryOf(userId), turnId));
    if (opened?.standing == null || opened.message === null) failures.push('open: nothing there');
    const isStored = await timed(() =>
      storeAssistantTurn(stores.primaryOf(userId), endOf(turnId, replies.length)),
    );
    if (!isStored) failures.push('store: the conversation was not there');
    else replies.push(turnId);
    const page = await timed(async () =>
      historyPage(await stores.readerOf(userId, conversationId), conversationId, null, null, 100),
    );
    if (page.turns.at(-1)?.turnId !== replies.at(-1)) staleReads += 1;
    if (replies.length % 5 === 0) {
      const text = `fact ${randomUUID()}`;
      await timed(() =>
        changeFacts(
          stores.primaryOf(userId),
          userId,
          { add: [{ text, vector: null }], edit: [], remove: [] },
          null,
        ),
      );
      facts.push(text);
    }
  }
  return { userId, conversationId, replies, facts, waits, staleReads, failures };
}

export interface Audit {
  /** Acknowledged and nowhere. */
  readonly lost: string[];
  /** On two shards, or billed twice, or stored though nobody was told. */
  readonly doubled: string[];
}

/** Compares what was acknowledged with every row of every shard. */
export async function auditWritten(
  databases: readonly Db[],
  { userId, replies, facts }: Written,
): Promise<Audit> {
  const all = async (text: string): Promise<string[]> =>
    (await Promise.all(databases.map((db) => rows<{ id: string }>(db, text, [userId]))))
      .flat()
      .map(({ id }) => id);
  const stored = await all(
    `select turn_id as id from turns where user_id = $1 and role = 'assistant'`,
  );
  const billed = await all('select turn_id as id from ledger where user_id = $1');
  const ended = await all(
    'select turn_id as id from turn_requests where user_id = $1 and ended_at is not null',
  );
  const kept = await all('select text as id from user_memory where user_id = $1');
  const questions = await all(
    `select turn_id as id from turns where user_id = $1 and role = 'user'`,
  );
  const compare = (found: string[], wanted: readonly string[]): Audit => ({
    lost: wanted.filter((id) => !found.includes(id)),
    doubled: [
      ...found.filter((id, index) => found.indexOf(id) !== index),
      ...found.filter((id) => !wanted.includes(id)),
    ],
  });
  const audits = [
    compare(stored, replies),
    compare(billed, replies),
    compare(ended, replies),
    compare(kept, facts),
    {
      lost: replies.slice(questions.length),
      doubled: questions.slice(replies.length),
    },
  ];
  return {
    lost: audits.flatMap(({ lost }) => lost),
    doubled: audits.flatMap(({ doubled }) => doubled),
  };
}

function endOf(turnId: TurnId, number: number): Parameters<typeof storeAssistantTurn>[1] {
  const usage = { promptTokens: 3, completionTokens: 2, cachedTokens: 1 };
  const sample = {
    turnId,
    content: `answer ${number}`,
    finishReason: 'stop' as const,
    errorCode: null,
    usage,
    costUsd: 0.001,
    streamOffsets: [0, 3, 8],
  };
  return {
    turnId,
    model: 'colloquy-mini',
    servedModel: 'fake',
    pool: 'mini',
    finishReason: 'stop',
    usage,
    costUsd: 0.001,
    verdict: null,
    continuation: null,
    samples: [sample],
  };
}
