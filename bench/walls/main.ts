// What the second wall costs a turn: the statements of a turn one after another, as the tables' owner, as the processes' role
// that sees everything, and as the role that is told whom each statement is for. On the running system's PostgreSQL, in a
// database of its own. `npm run build && node dist/bench/walls/main.js [--turns 2000]`
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { UserId } from '../../contracts/ids.ts';
import { promptRequest, recentTurns } from '../../postgres/conversation-prompt.ts';
import { findConversationWithRunning } from '../../postgres/conversations.ts';
import { seedDemo } from '../../postgres/demo-users.ts';
import { migrate } from '../../postgres/migrate.ts';
import { createPool, rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { acceptTurn } from '../../postgres/turn-requests.ts';
import { openTurn, storeAssistantTurn } from '../../postgres/turns.ts';
import { walled } from '../../postgres/walled-stores.ts';
import { projectPath } from '../../process/paths.ts';
import { runningSystem } from '../running-system.ts';
import { summary } from '../statistics.ts';

const TOKENS = { free: 'cq_w1', paid: 'cq_w2', enterprise: 'cq_w3', admin: 'cq_w4' };
const ROUNDS = 5;
const PARAMS = {
  ...{ maxTokens: 100, temperature: 0, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 },
  ...{ frequencyPenalty: 0, presencePenalty: 0, logitBias: [], seed: 1, n: 1, logprobs: null },
  ...{ stop: [], reasoning: false },
};

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { turns: { type: 'string', default: '2000' } } });
  const numTurns = Number(values.turns);
  const system = runningSystem();
  const name = `bench_walls_${process.pid}`;
  await onServer(system.postgres, `create database ${name}`);
  const url = new URL(system.postgres);
  url.pathname = `/${name}`;
  await migrate(url.href, projectPath('migrations'));
  const { users } = await seedDemo(url.href, TOKENS);
  const pool = createPool({ url: url.href, poolSize: 1 }, () => undefined);
  // The role has a password of the system's own; the owner may simply become it.
  const appPool = createPool(
    { url: `${url.href}?options=${encodeURIComponent('-c role=colloquy_app')}`, poolSize: 1 },
    () => undefined,
  );
  const contenders: Readonly<Record<string, Pool>> = {
    owner: pool,
    'role, sees all': walled(appPool, 'sweep'),
    'role, walled': walled(appPool, users.paid),
  };
  const samples = new Map<string, number[]>(Object.keys(contenders).map((each) => [each, []]));
  // In turns, so that a noisy neighbour meets all of them.
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const [contender, db] of Object.entries(contenders)) {
      const taken = await takeTurns(pool, db, users.paid, Math.ceil(numTurns / ROUNDS));
      if (round >= 0) samples.get(contender)?.push(...taken);
    }
  }
  for (const [contender, sample] of samples)
    console.log(
      JSON.stringify({ contender, statements: 5, turns: sample.length, ...summary(sample) }),
    );
  await pool.end();
  await appPool.end();
  await onServer(system.postgres, `drop database ${name} with (force)`);
}

/** @returns milliseconds of each turn's five statements */
async function takeTurns(owner: Pool, db: Pool, userId: UserId, count: number): Promise<number[]> {
  const conversationId = newConversationId();
  await rows(
    owner,
    `insert into conversations (conversation_id, user_id, org_id, model, region) select $1, user_id, org_id, 'm', 'r' from users where user_id = $2`,
    [conversationId, userId],
  );
  const taken: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const [userTurnId, turnId] = [newTurnId(), newTurnId()];
    const from = performance.now();
    const found = await findConversationWithRunning(db, userId, conversationId);
    const parentTurnId = found?.conversation.activeTurnId ?? null;
    await acceptTurn(
      db,
      {
        ...{ turnId, userTurnId, conversationId, userId, parentTurnId, replacesTurnId: null },
        ...{ isRegeneration: false, content: 'a question', params: PARAMS, model: 'm', pool: 'p' },
        ...{ idempotencyKey: null, bodyHash: null },
      },
      true,
    );
    await openTurn(db, turnId);
    await promptRequest(db, { turnId, conversationId }, true);
    await recentTurns(db, conversationId, userTurnId, 40, 4096);
    const usage = { promptTokens: 1, completionTokens: 1, cachedTokens: 0 };
    const isStored = await storeAssistantTurn(db, {
      ...{ turnId, model: 'm', servedModel: 'm', pool: 'p', finishReason: 'stop', usage },
      ...{ costUsd: 0, verdict: null, continuation: null },
      samples: [
        {
          ...{ turnId, content: 'an answer', finishReason: 'stop', errorCode: null, usage },
          ...{ costUsd: 0, streamOffsets: [0, 9] },
        },
      ],
    });
    if (!isStored) throw new Error('the turn was not stored');
    taken.push(performance.now() - from);
  }
  return taken;
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
