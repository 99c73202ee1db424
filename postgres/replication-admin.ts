// What whoever keeps the nodes of a database asks of them: who follows whom, how far they are, promote. As a superuser, on a
// connection for one task each, for nodes come and go.
import { Client } from 'pg';
import type { QueryConfig } from 'pg';
import { lookAtNode } from './node-look.ts';
import type { NodeView } from './node-look.ts';
import { row, rows } from './pool.ts';

/** A node that takes longer for a statement of these is not there. */
const ANSWER_MS = 2000;
const PROMOTE_SECONDS = 30;

/** @throws Error when the node does not answer in time, or `work` throws */
export async function onNode<Result>(
  url: string,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: ANSWER_MS,
    query_timeout: ANSWER_MS,
    application_name: 'colloquy-supervisor',
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    client.end().catch(() => undefined);
  }
}

/** Null when the node does not answer. */
export function viewOf(url: string): Promise<NodeView | null> {
  return onNode(url, (client) => lookAtNode(client)).catch(() => null);
}

/** Standbys of a primary that stream, by application_name, and how far the furthest has flushed. */
export async function streamingStandbys(
  client: Client,
): Promise<{ names: readonly string[]; flushedLsn: number; ownLsn: number }> {
  const found = await row<{ names: string[] | null; flushed: number | null; own: number }>(
    client,
    `select array_agg(application_name) as names, max(flush_lsn - '0/0'::pg_lsn) as flushed,
       pg_current_wal_flush_lsn() - '0/0'::pg_lsn as own
     from pg_stat_replication where state = 'streaming'`,
  );
  return {
    names: found?.names ?? [],
    flushedLsn: found?.flushed ?? 0,
    ownLsn: found?.own ?? Infinity,
  };
}

/** @param isNeeded a commit is acknowledged only when a standby has flushed it */
export async function requireStandby(client: Client, isNeeded: boolean): Promise<void> {
  await setSystem(client, 'synchronous_standby_names', isNeeded ? 'ANY 1 (*)' : '');
}

/** @param conninfo of the primary to follow; '' = none: the standby keeps what it has and receives nothing more */
export async function followPrimary(client: Client, conninfo: string): Promise<void> {
  await setSystem(client, 'primary_conninfo', conninfo);
}

/** Whether the standby receives nothing from anybody now. */
export async function hasNoReceiver(client: Client): Promise<boolean> {
  const found = await row<{ receivers: number }>(
    client,
    'select count(*) as receivers from pg_stat_wal_receiver',
  );
  return found?.receivers === 0;
}

/** Resolves when the node is a primary. @throws Error when it does not become one in time */
export async function promote(client: Client): Promise<void> {
  const asked: SlowQuery = {
    text: 'select pg_promote(true, $1) as is_promoted',
    values: [PROMOTE_SECONDS],
    query_timeout: (PROMOTE_SECONDS + 5) * 1000,
  };
  const answer = await client.query<{ is_promoted: boolean }>(asked);
  if (answer.rows[0]?.is_promoted !== true)
    throw new Error('the standby could not be promoted in time');
}

/** What a rewind of the old primary starts from. */
export async function checkpoint(client: Client): Promise<void> {
  const asked: SlowQuery = { text: 'checkpoint', query_timeout: 60_000 };
  await client.query(asked);
}

/** The types do not know a time-out of one statement. */
interface SlowQuery extends QueryConfig {
  readonly query_timeout: number;
}

/** Of the server's own configuration file; takes hold at once. */
async function setSystem(
  client: Client,
  setting: 'synchronous_standby_names' | 'primary_conninfo',
  value: string,
): Promise<void> {
  // Neither takes parameters.
  await client.query(`alter system set ${setting} = ${client.escapeLiteral(value)}`);
  await rows(client, 'select pg_reload_conf()');
}
