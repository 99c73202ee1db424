// One question each, asked once: does it answer? Never throw; false is the only failure.
import { connect } from 'node:net';
import { Client } from 'pg';
import { Redis } from 'ioredis';
import { parseRedisUrl } from '../redis/redis-url.ts';

const PROBE_TIMEOUT_MS = 2000;

/** True when a GET answers 200. */
export async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
      redirect: 'error',
    });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** True when something accepts TCP connections there. */
export function acceptsConnections(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: PROBE_TIMEOUT_MS });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });
}

/** Null when PostgreSQL runs a statement, else why not, in a few words without secrets. */
export async function postgresFault(databaseUrl: string): Promise<string | null> {
  const client = new Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: PROBE_TIMEOUT_MS,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return null;
  } catch (error) {
    return faultOf(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Null when Redis answers a PING, or a node of a cluster says that all slots are served; else why not. */
export async function redisFault(redisUrl: string): Promise<string | null> {
  const target = parseRedisUrl(redisUrl);
  const options = {
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: PROBE_TIMEOUT_MS,
    commandTimeout: PROBE_TIMEOUT_MS,
  };
  if (target.kind === 'node')
    return askRedis(new Redis(target.url, options), async (client) => void (await client.ping()));
  const { username, password, isTls } = target;
  const login = {
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(isTls ? { tls: {} } : {}),
  };
  let fault: string | null = null;
  for (const node of target.nodes) {
    fault = await askRedis(new Redis({ ...node, ...login, ...options }), async (client) => {
      const info = String(await client.call('CLUSTER', 'INFO'));
      if (!info.includes('cluster_state:ok')) throw new Error('not all slots are served');
    });
    if (fault === null) return null;
  }
  return fault;
}

async function askRedis(
  client: Redis,
  ask: (client: Redis) => Promise<void>,
): Promise<string | null> {
  let fault: string | null = null;
  client.on('error', (error) => {
    fault = faultOf(error);
  });
  try {
    await client.connect();
    await ask(client);
    return null;
  } catch (error) {
    return fault ?? faultOf(error);
  } finally {
    client.disconnect();
  }
}

function faultOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: string };
  return typeof code === 'string' && code.startsWith('E') ? code : (message ?? 'no answer');
}
