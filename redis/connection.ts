// Connections to Redis, one node or a cluster by the URL alone: one for commands with the Lua scripts loaded, and one for
// each subscriber. Every script and every multi-key command stays within one hash tag (contracts/redis-keys.ts), so the
// code above this file does not know which it is.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, Redis as Node } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import { AppError } from '../contracts/errors.ts';
import { gatherWrites } from './gathered-writes.ts';
import { parseRedisUrl } from './redis-url.ts';
import type { RedisTarget } from './redis-url.ts';

export type Redis = Node | Cluster;

/** A client whose scripts run by name through `runScript`. */
export interface RedisSettings {
  /** See redis-url.ts. */
  readonly url: string;
  /** The folder redis/lua. */
  readonly scriptsFolder: string;
  readonly onError: (error: Error) => void;
  /** A command without an answer for this long has failed; default 2000. */
  readonly answerMs?: number;
}

/** Of each connection to a node, alone or in a cluster. */
const nodeOptions = ({ answerMs = 2000 }: RedisSettings) =>
  ({
    maxRetriesPerRequest: 1,
    connectTimeout: 1000,
    commandTimeout: answerMs,
    keepAlive: 30_000,
    replyMapping: 'legacy',
  }) as const satisfies RedisOptions;

/**
 * A cluster learns of a failover from a refused connection, from MOVED, or by asking this often: a frozen primary
 * refuses nothing.
 */
const SLOTS_REFRESH_MS = 2000;
/** × 100 ms between them: a command for a shard without a primary fails after some 1.6 s, as one for a dead node does. */
const MAX_REDIRECTIONS = 16;

/** Connects lazily and for ever; a command that cannot be sent fails within about two seconds instead of waiting. */
export function connectRedis(settings: RedisSettings): Redis {
  const target = parseRedisUrl(settings.url);
  const client: Redis =
    target.kind === 'cluster'
      ? connectCluster(target, nodeOptions(settings))
      : new Node(target.url, { ...nodeOptions(settings), retryStrategy: backOffMs });
  client.on('error', settings.onError);
  if (!isCluster(client)) gatherWrites(client);
  const verbs = new Set<string>();
  for (const file of readdirSync(settings.scriptsFolder)) {
    const match = /^([a-z]+)-(\d+)\.lua$/.exec(file);
    if (match?.[1] === undefined) continue;
    // One of them would answer for both.
    if (verbs.has(match[1])) throw new Error(`two scripts are called ${match[1]}`);
    verbs.add(match[1]);
    const lua = readFileSync(join(settings.scriptsFolder, file), 'utf8');
    client.defineCommand(`colloquy:${match[1]}`, { numberOfKeys: Number(match[2]), lua });
  }
  return client;
}

/**
 * A second connection of the same settings for subscriptions, one a primary in a cluster; it never gives up.
 * Subscriptions after a lost connection are the business of ChannelHub.
 */
export function connectSubscriber(client: Redis, onError: (error: Error) => void): Redis {
  const subscriber: Redis = isCluster(client)
    ? client.duplicate([], { shardedSubscribers: true, clusterRetryStrategy: backOffMs })
    : client.duplicate({ maxRetriesPerRequest: null, autoResubscribe: false });
  subscriber.on('error', onError);
  return subscriber;
}

const NUM_SLOTS_OK = /^cluster_slots_ok:16384\r?$/m;

/** Whether Redis serves every key: of a cluster, that each primary answers and sees all slots served. Throws when one does not. */
export async function servesAll(client: Redis): Promise<boolean> {
  const isThere = (await client.ping()) === 'PONG'; // A cluster's client knows its nodes from its first answer on.
  if (!isCluster(client) || !isThere) return isThere;
  const primaries = client.nodes('master');
  const views = await Promise.all(primaries.map((node) => node.cluster('INFO')));
  return views.length > 0 && views.every((view) => NUM_SLOTS_OK.test(String(view)));
}

export function isCluster(client: Redis): client is Cluster {
  return client.isCluster;
}

/**
 * Runs the script `redis/lua/<name>-<n>.lua`.
 * @throws AppError STREAM_UNAVAILABLE when Redis does not answer
 */
export async function runScript(
  client: Redis,
  name: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  const command = (
    client as unknown as Record<string, (...all: (string | number)[]) => Promise<unknown>>
  )[`colloquy:${name}`];
  if (command === undefined)
    throw new AppError('INVARIANT_VIOLATED', { message: `there is no script ${name}` });
  try {
    return await command.call(client, ...keys, ...args);
  } catch (error) {
    throw new AppError('STREAM_UNAVAILABLE', { cause: error });
  }
}

function connectCluster(
  target: RedisTarget & { readonly kind: 'cluster' },
  options: ReturnType<typeof nodeOptions>,
): Cluster {
  const { username, password, isTls } = target;
  const client = new Cluster([...target.nodes], {
    redisOptions: {
      ...options,
      ...(username === null ? {} : { username }),
      ...(password === null ? {} : { password }),
      ...(isTls ? { tls: {} } : {}),
    },
    clusterRetryStrategy: (attempt) => {
      // No node answered. What waits for one fails with this attempt rather than being sent when its caller has given up.
      client['flushQueue'](new Error('no node of the cluster answers'));
      return backOffMs(attempt);
    },
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    maxRedirections: MAX_REDIRECTIONS,
    // Names are left to TLS, which checks them; ioredis would resolve them first.
    ...(isTls ? { dnsLookup: (address, answer) => answer(null, address) } : {}),
  });
  client.on('+node', gatherWrites);
  return client;
}

function backOffMs(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 6), 1000) * (0.75 + Math.random() / 2);
}
