// Looks behind the API of a running system: what is stored, billed and logged of a turn, and what is left over of all.
import { Connection } from '@temporalio/client';
import { Redis } from 'ioredis';
import { Pool } from 'pg';
import { turnLogKey } from '../../contracts/redis-keys.ts';
import type { TurnId } from '../../contracts/ids.ts';
import type { TestSystem } from './system.ts';

export interface TurnRecord {
  /** Stored replies with this id; 1 unless something is wrong. */
  readonly replies: readonly {
    content: string;
    finish_reason: string;
    completion_tokens: number;
  }[];
  readonly ledger: readonly { completion_tokens: number; prompt_tokens: number }[];
  /** Numbers of the log's entries; empty when Redis has lost it. */
  readonly entryNumbers: readonly number[];
  /** Text and number of tokens in the log. */
  readonly loggedText: string;
  readonly loggedTokens: number;
}

export interface TurnAudit {
  readonly db: Pool;
  readonly redis: Redis;
  recordOf(turnId: string): Promise<TurnRecord>;
  numOpenWorkflows(): Promise<number>;
  /** Accepted turns that have not ended. */
  numOpenRequests(): Promise<number>;
  keysWithoutTtl(): Promise<string[]>;
  close(): Promise<void>;
}

export async function openTurnAudit(system: TestSystem): Promise<TurnAudit> {
  const { postgres, redis: redisUrl, temporal } = system.endpoints();
  const db = new Pool({ connectionString: postgres, max: 2 });
  db.on('error', () => undefined); // Its server is killed on purpose.
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  const connection = await Connection.connect({ address: temporal });

  const recordOf = async (turnId: string): Promise<TurnRecord> => {
    const { rows: replies } = await db.query<TurnRecord['replies'][number]>(
      `select content, finish_reason, (usage ->> 'completion_tokens')::int as completion_tokens
       from turns where turn_id = $1 and role = 'assistant'`,
      [turnId],
    );
    const { rows: ledger } = await db.query<TurnRecord['ledger'][number]>(
      'select completion_tokens, prompt_tokens from ledger where turn_id = $1',
      [turnId],
    );
    const entries = await redis.xrange(turnLogKey(turnId as TurnId), '-', '+');
    const tokens = entries
      .filter(([, fields]) => fields[1] === 'token')
      .map(([, fields]) => JSON.parse(fields[3] ?? '') as { text: string; ids: number[] });
    return {
      replies,
      ledger,
      entryNumbers: entries.map(([id]) => Number.parseInt(id, 10)),
      loggedText: tokens.map(({ text }) => text).join(''),
      loggedTokens: tokens.reduce((sum, { ids }) => sum + ids.length, 0),
    };
  };

  const numOpenWorkflows = async (): Promise<number> => {
    const { count } = await connection.workflowService.countWorkflowExecutions({
      namespace: 'default',
      query: `WorkflowType = 'turn' and ExecutionStatus = 'Running'`,
    });
    return Number(count ?? 0);
  };

  const numOpenRequests = async (): Promise<number> => {
    const { rows } = await db.query<{ open: string }>(
      'select count(*) as open from turn_requests where ended_at is null',
    );
    return Number(rows[0]?.open ?? 0);
  };

  const keysWithoutTtl = async (): Promise<string[]> => {
    const keys = await redis.keys('*');
    const ttls = await Promise.all(keys.map((key) => redis.pttl(key)));
    return keys.filter((_, index) => ttls[index] === -1);
  };

  const close = async (): Promise<void> => {
    redis.disconnect();
    await connection.close();
    await db.end();
  };
  return { db, redis, recordOf, numOpenWorkflows, numOpenRequests, keysWithoutTtl, close };
}
