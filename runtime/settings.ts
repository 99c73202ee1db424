// What one start was asked to do: flags of the command line, and the few variables that the supervisor itself reads.
// Variables of the processes it starts are theirs (process/config.ts); they are handed on as they are.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';

export interface RuntimeSettings {
  readonly home: string;
  readonly catalogPath: string;
  readonly numGateways: number;
  /** Standbys of the embedded PostgreSQL. */
  readonly numReplicas: number;
  /** Pool → number of inference workers; pools that are not named have one. */
  readonly numWorkers: ReadonlyMap<string, number>;
  /** Databases that owners' rows are spread over. */
  readonly numShards: number;
  /** Replacements of embedded services; null = embedded. */
  readonly databaseUrl: string | null;
  /** Shards 1, 2, … beside an external databaseUrl. */
  readonly shardUrls: readonly string[];
  /** Of the role that owns the tables; null = DATABASE_URL's. */
  readonly databaseOwnerUrl: string | null;
  readonly redisUrl: string | null;
  readonly temporalAddress: string | null;
  readonly temporalNamespace: string;
  /** The gateway's port: null = 8080 if it is free, 0 = any. */
  readonly port: number | null;
  /** Where the gateways are reached from this machine. */
  readonly host: string;
  readonly drainMs: number;
  readonly logLevel: string;
}

const MAX_PROCESSES = 64;

const environmentSchema = z.object({
  COLLOQUY_HOME: z.string().default('.colloquy'),
  CATALOG_PATH: z.string().default('config/catalog.yaml'),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must begin with postgres://')
    .nullable()
    .default(null),
  DATABASE_SHARD_URLS: z
    .string()
    .regex(
      /^postgres(ql)?:\/\/[^,]*(,postgres(ql)?:\/\/[^,]*)*$/,
      'must be postgres:// URLs, separated by commas',
    )
    .transform((list) => list.split(','))
    .default([]),
  DATABASE_OWNER_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must begin with postgres://')
    .nullable()
    .default(null),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'must begin with redis://')
    .nullable()
    .default(null),
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^/]+:\d+$/, 'must be host:port')
    .nullable()
    .default(null),
  TEMPORAL_NAMESPACE: z.string().default('default'),
  PORT: z.coerce.number().int().min(0).max(65_535).nullable().default(null),
  HOST: z.string().default('127.0.0.1'),
  DRAIN_MS: z.coerce.number().int().min(0).max(600_000).default(20_000),
  LOG_LEVEL: z.string().default('info'),
});

/**
 * @param argv flags after the script's name
 * @param env empty values count as absent
 * @throws Error in one line per fault
 */
export function readSettings(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): RuntimeSettings {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      gateways: { type: 'string', default: '1' },
      replicas: { type: 'string', default: '0' },
      workers: { type: 'string', multiple: true, default: [] },
      shards: { type: 'string' },
    },
  });
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = environmentSchema.safeParse(given);
  if (!parsed.success)
    throw new Error(`The environment is not valid:\n${z.prettifyError(parsed.error)}`);
  const variables = parsed.data;
  return Object.freeze({
    home: resolve(variables.COLLOQUY_HOME),
    catalogPath: resolve(variables.CATALOG_PATH),
    numGateways: count('--gateways', values.gateways, 1),
    numReplicas: replicas(values.replicas, variables.DATABASE_URL, values.shards),
    numWorkers: new Map(values.workers.map(workerCount)),
    numShards: shardCount(values.shards, variables),
    databaseUrl: variables.DATABASE_URL,
    shardUrls: variables.DATABASE_SHARD_URLS,
    databaseOwnerUrl: variables.DATABASE_OWNER_URL,
    redisUrl: variables.REDIS_URL,
    temporalAddress: variables.TEMPORAL_ADDRESS,
    temporalNamespace: variables.TEMPORAL_NAMESPACE,
    port: variables.PORT,
    host: variables.HOST,
    drainMs: variables.DRAIN_MS,
    logLevel: variables.LOG_LEVEL,
  });
}

/** As many standbys as the primary has senders for, less one for a copy. */
const MAX_REPLICAS = 4;

function replicas(text: string, databaseUrl: string | null, shards: string | undefined): number {
  const number = count('--replicas', text, 0, MAX_REPLICAS);
  if (number > 0 && Number(shards ?? 1) > 1)
    throw new Error('The embedded PostgreSQL has --replicas or --shards, not both.');
  if (number > 0 && databaseUrl !== null)
    throw new Error(
      '--replicas is for the embedded PostgreSQL; with DATABASE_URL, name the other nodes in DATABASE_REPLICA_URLS.',
    );
  return number;
}

/** External shards are counted by their URLs; embedded ones by the flag. */
function shardCount(
  flag: string | undefined,
  { DATABASE_URL: url, DATABASE_SHARD_URLS: urls }: z.infer<typeof environmentSchema>,
): number {
  if (url === null && urls.length > 0)
    throw new Error('DATABASE_SHARD_URLS are shards 1, 2, …: DATABASE_URL, shard 0, is missing.');
  if (url === null) return count('--shards', flag ?? '1', 1);
  if (flag !== undefined && Number(flag) !== 1 + urls.length)
    throw new Error(
      `--shards ${flag} does not fit DATABASE_URL and ${urls.length} DATABASE_SHARD_URLS.`,
    );
  return 1 + urls.length;
}

function workerCount(text: string): [string, number] {
  const [pool, number, ...rest] = text.split('=');
  if (pool === undefined || pool === '' || number === undefined || rest.length > 0) {
    throw new Error(`--workers takes POOL=N, such as mini=2; received "${text}".`);
  }
  return [pool, count(`--workers ${pool}`, number, 0)];
}

function count(flag: string, text: string, min: number, max = MAX_PROCESSES): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new Error(`${flag} takes a whole number from ${min} to ${max}; received "${text}".`);
}
