// The state after a storm, read behind the API: rows, ledger, logs, leases, workflows, blocks. docs/chaos.md says what for.
import { Client, Connection } from '@temporalio/client';
import { Pool } from 'pg';
import type { FinalState, FinalTurn } from '../../bench/chaos/history.ts';
import { turnLogKey } from '../../contracts/redis-keys.ts';
import type { TurnId } from '../../contracts/ids.ts';
import { turnWorkflowId } from '../../contracts/turn-workflow.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis, isCluster } from '../../redis/connection.ts';
import type { Redis } from '../../redis/connection.ts';
import type { ChaosSystem } from './chaos-system.ts';
import { numUsedBlocks, processesOf } from './system-processes.ts';
import { waitFor } from './wait-for.ts';

/** maintenance looks for turns without a workflow once a minute, and at those older than half a minute. */
const QUIET_MS = 150_000;

export interface StateObserver {
  /** Resolves when nothing is under way any more, or when that has been waited for in vain: the checker names it then. */
  whenQuiet(): Promise<void>;
  /** @param startedAt wall clock, ms, of the run's 0 @param conversations those of the run */
  read(startedAt: number, conversations: readonly string[]): Promise<FinalState>;
  /** How often the generation of each of these turns was dispatched. */
  dispatchesOf(
    turns: readonly { conversation: string; turnId: string }[],
  ): Promise<Record<string, number>>;
  close(): Promise<void>;
}

export async function observeState({ system, services }: ChaosSystem): Promise<StateObserver> {
  const db = new Pool({ connectionString: services.databaseUrl, max: 2 });
  db.on('error', () => undefined); // Its server is killed on purpose.
  const redis = connectRedis({
    url: services.redisUrl,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
  });
  const connection = await Connection.connect({ address: services.temporalAddress });
  const client = new Client({ connection });

  const openRequests = async (): Promise<string[]> => {
    const { rows } = await db.query<{ turn_id: string }>(
      'select turn_id from turn_requests where ended_at is null order by turn_id',
    );
    return rows.map(({ turn_id: turnId }) => turnId);
  };
  const openWorkflows = async (): Promise<string[]> => {
    const query = `WorkflowType = 'turn' and ExecutionStatus = 'Running'`;
    const found: string[] = [];
    for await (const { workflowId } of client.workflow.list({ query })) found.push(workflowId);
    return found;
  };
  const usedBlocks = async (): Promise<Record<string, number>> => {
    const workers = processesOf(system, 'inference-worker');
    const used = workers.map(async (each) => [each.name, await numUsedBlocks(each)] as const);
    return Object.fromEntries(await Promise.all(used));
  };

  const whenQuiet = async (): Promise<void> => {
    const soon = (what: string, look: () => Promise<boolean>, ms: number): Promise<unknown> =>
      waitFor(what, () => look().catch(() => false), ms).catch(() => undefined);
    await soon('every turn ends', async () => (await openRequests()).length === 0, QUIET_MS);
    await soon('no workflow is open', async () => (await openWorkflows()).length === 0, 60_000);
    const none = async (): Promise<boolean> =>
      Object.values(await usedBlocks()).every((used) => used === 0);
    await soon('no block is used', none, 15_000);
  };

  const dispatchesOf: StateObserver['dispatchesOf'] = async (turns) => {
    const counts: Record<string, number> = {};
    for (const { conversation, turnId } of turns) {
      const id = turnWorkflowId(conversation as never, turnId as TurnId);
      const history = await client.workflow.getHandle(id).fetchHistory();
      counts[turnId] = (history.events ?? []).filter(
        ({ activityTaskScheduledEventAttributes: scheduled }) =>
          scheduled?.activityType?.name === 'generate',
      ).length;
    }
    return counts;
  };

  const read: StateObserver['read'] = async (startedAt, conversations) => {
    const turns = await storedTurns(db, startedAt, conversations);
    const { rows: heads } = await db.query<{ id: string; active: string | null }>(
      `select conversation_id as id, active_turn_id as active from conversations
       where conversation_id = any($1::uuid[]) order by created_at`,
      [conversations],
    );
    const { rows: ledger } = await db.query<LedgerRow>(
      `select turn_id, conversation_id, prompt_tokens, completion_tokens, cost_usd::float8 as cost_usd
       from ledger where conversation_id = any($1::uuid[])`,
      [conversations],
    );
    const replies = turns.filter(({ turn }) => turn.role === 'assistant');
    return {
      at: Date.now() - startedAt,
      conversations: heads.map(({ id, active }) => ({
        id,
        activeTurnId: active,
        turns: turns.filter((each) => each.conversation === id).map(({ turn }) => turn),
      })),
      ledger: ledger.map((each) => ({
        turnId: each.turn_id,
        conversation: each.conversation_id,
        promptTokens: each.prompt_tokens,
        completionTokens: each.completion_tokens,
        costUsd: each.cost_usd,
      })),
      logs: await keptLogs(
        redis,
        replies.map(({ turn }) => turn.turnId),
      ),
      openRequests: await openRequests(),
      openWorkflows: await openWorkflows(),
      ...(await keptKeys(redis)),
      usedBlocks: await usedBlocks(),
      dispatches: {},
    };
  };

  const close = async (): Promise<void> => {
    redis.disconnect();
    await connection.close();
    await db.end();
  };
  return { whenQuiet, read, dispatchesOf, close };
}

interface LedgerRow {
  turn_id: string;
  conversation_id: string;
  prompt_tokens: number;
  completion_tokens: number;
  cost_usd: number;
}

async function storedTurns(
  db: Pool,
  startedAt: number,
  conversations: readonly string[],
): Promise<{ conversation: string; turn: FinalTurn }[]> {
  const { rows } = await db.query<{ conversation: string; turn: FinalTurn }>(
    `select conversation_id as conversation, json_build_object(
       'turnId', turn_id, 'role', role, 'content', content, 'parentTurnId', parent_turn_id,
       'finishReason', finish_reason, 'errorCode', error_code,
       'promptTokens', (usage ->> 'prompt_tokens')::int,
       'completionTokens', (usage ->> 'completion_tokens')::int,
       'costUsd', (usage ->> 'cost_usd')::float8,
       'streamOffsets', stream_offsets,
       'createdAt', round(extract(epoch from created_at) * 1000 - $2)
     ) as turn
     from turns where conversation_id = any($1::uuid[]) order by conversation_id, turn_id`,
    [conversations, startedAt],
  );
  return rows;
}

/** Logs live for ten minutes after their end, so those of a long run's first half are gone. */
async function keptLogs(redis: Redis, turnIds: readonly string[]): Promise<FinalState['logs']> {
  const logs: FinalState['logs'][number][] = [];
  for (const turnId of turnIds) {
    const entries = (await redis.xrange(turnLogKey(turnId as TurnId), '-', '+')) as [
      string,
      string[],
    ][];
    if (entries.length === 0) continue;
    const tokens = entries
      .filter(([, fields]) => fields[1] === 'token')
      .map(([, fields]) => JSON.parse(fields[3] ?? '') as { text: string; ids: number[] });
    logs.push({
      turnId,
      numbers: entries.map(([id]) => Number.parseInt(id, 10)),
      text: tokens.map(({ text }) => text).join(''),
      numTokens: tokens.reduce((sum, { ids }) => sum + ids.length, 0),
      numEnds: entries.filter(([, fields]) => fields[1] === 'end').length,
    });
  }
  return logs;
}

async function keptKeys(redis: Redis): Promise<Pick<FinalState, 'keysWithoutTtl' | 'leases'>> {
  const keysWithoutTtl: string[] = [];
  const leases: FinalState['leases'][number][] = [];
  for (const node of isCluster(redis) ? redis.nodes('master') : [redis]) {
    for (const key of await node.keys('*')) {
      if ((await node.pttl(key)) === -1) keysWithoutTtl.push(key);
      if (!/^limit:.*:reservations$/.test(key)) continue;
      for (const [turnId, lease] of Object.entries(await node.hgetall(key)))
        leases.push({ turnId, expiresInMs: Number(lease.split(':')[1]) - Date.now() });
    }
  }
  return { keysWithoutTtl, leases };
}
