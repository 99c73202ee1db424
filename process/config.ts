// Every setting of every process: one zod schema over the environment. Only process entry points call loadConfig; the
// rest gets its section by argument. `.env.example` is printed from this file by scripts/env-example.
import { join, resolve } from 'node:path';
import { z } from 'zod';

const port = z.coerce.number().int().min(0).max(65_535);
const ms = (min: number, max: number): z.ZodCoercedNumber =>
  z.coerce.number().int().min(min).max(max);
const flushTokens = z.coerce.number().int().min(1).max(4096);

/** Variable → schema. The description is what an operator reads; the default is what most run. */
export const ENVIRONMENT = z.object({
  COLLOQUY_HOME: z
    .string()
    .min(1)
    .default('.colloquy')
    .describe('Folder of all data, logs and run files.'),
  COLLOQUY_PROCESS_NAME: z
    .string()
    .default('')
    .describe('Name in logs and metrics; set by the supervisor.'),
  CATALOG_PATH: z
    .string()
    .default('config/catalog.yaml')
    .describe('Models, prices, pools and tier limits.'),
  LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])
    .default('info')
    .describe('Least severe line that is logged.'),
  HOST: z.string().min(1).default('127.0.0.1').describe('Address the gateway listens on.'),
  PORT: port.default(8080).describe('Port of the gateway; 0 = any free port.'),
  METRICS_PORT: port
    .default(0)
    .describe('Port of /healthz, /readyz and /metrics of workers; 0 = any free port.'),
  MAX_BODY_BYTES: z.coerce
    .number()
    .int()
    .min(1024)
    .max(64 * 1024 * 1024)
    .default(1024 * 1024)
    .describe('Largest request body.'),
  STREAM_BUFFER_BYTES: z.coerce
    .number()
    .int()
    .min(1024 * 1024)
    .default(64 * 1024 * 1024)
    .describe(
      'Bytes that may wait for all slow readers of a gateway; over it the longest stalled are closed and resume.',
    ),
  STREAM_STALL_MS: ms(1000, 600_000)
    .default(30_000)
    .describe('A reader that takes nothing for this long is closed; it resumes.'),
  HEARTBEAT_MS: ms(100, 600_000).default(15_000).describe('Interval of SSE comment heartbeats.'),
  DISCONNECT_GRACE_MS: ms(0, 600_000)
    .default(15_000)
    .describe('How long a turn without readers runs on before it is cancelled.'),
  DRAIN_MS: ms(0, 600_000)
    .default(20_000)
    .describe('How long a process waits for running work on SIGTERM.'),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must begin with postgres://')
    .describe('PostgreSQL 18 with pgvector.'),
  DATABASE_SHARD_URLS: z
    .string()
    .regex(
      /^(postgres(ql)?:\/\/[^,]*(,postgres(ql)?:\/\/[^,]*)*)?$/,
      'must be postgres:// URLs, separated by commas',
    )
    .default('')
    .describe('Databases of shards 1, 2, …, separated by commas; DATABASE_URL is shard 0.'),
  DATABASE_OWNER_URL: z
    .string()
    .regex(/^(postgres(ql)?:\/\/.*)?$/, 'must begin with postgres://')
    .default('')
    .describe(
      'The same database for the role that owns its tables: migrations, and the background worker’s care of partitions; DATABASE_URL when it is left out. Of several shards all, with commas between them.',
    ),
  DATABASE_POOL_SIZE: z.coerce
    .number()
    .int()
    .min(1)
    .max(200)
    .default(10)
    .describe('Connections per process, to each node.'),
  DATABASE_REPLICA_URLS: z
    .string()
    .regex(
      /^$|^postgres(ql)?:\/\/[^,]+(,postgres(ql)?:\/\/[^,]+)*$/,
      'must be URLs that begin with postgres://, with commas between them',
    )
    .default('')
    .describe(
      'The other nodes of the database, whichever is the primary now, with commas between them: reads go to those that are near enough.',
    ),
  DATABASE_REPLICA_MAX_LAG_MS: ms(100, 600_000)
    .default(10_000)
    .describe('A replica that is further behind is not read.'),
  DATABASE_NAMED_STATEMENTS: z
    .enum(['true', 'false'])
    .default('true')
    .describe('false behind a PgBouncer that cannot carry them (below 1.21).'),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\//, 'must begin with redis://')
    .describe('Redis 7 or Valkey; several nodes of a cluster as redis://:password@a:6379,b:6379.'),
  CONVERSATION_CACHE_BYTES: z.coerce
    .number()
    .int()
    .min(1024 * 1024)
    .default(64 * 1024 * 1024)
    .describe('Bytes of recent turns that are kept in Redis, within its own memory limit.'),
  CONVERSATION_CACHE_TURNS: z.coerce
    .number()
    .int()
    .min(2)
    .max(200)
    .default(64)
    .describe('… at most this many of a conversation.'),
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^/]+:\d+$/, 'must be host:port')
    .describe('Temporal frontend.'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('default').describe('Temporal namespace.'),
  WORKFLOW_BUNDLE: z
    .string()
    .default('dist/workflow-bundle.js')
    .describe('Prebuilt workflow code.'),
  WORKFLOW_STACK_TRACES: z
    .enum(['false', 'true'])
    .default('false')
    .describe(
      'Record call stacks for Temporal’s view of a running workflow; costs a few ms a turn.',
    ),
  ENCODER_WEIGHTS: z
    .string()
    .min(1)
    .default('models/all-MiniLM-L6-v2.F16.gguf')
    .describe('The sentence encoder’s GGUF file; relative paths are below COLLOQUY_HOME.'),
  MEMORY_RECALL_MS: ms(0, 10_000)
    .default(25)
    .describe(
      'How long a turn that is ready to run waits for what is remembered of its user; 0 = it is told nothing.',
    ),
  INFERENCE_THREADS: z.coerce
    .number()
    .int()
    .min(0)
    .max(256)
    .default(0)
    .describe('Threads of one engine; 0 = the machine’s cores.'),
  ENGINE_STALL_MS: ms(500, 600_000)
    .default(1500)
    .describe(
      'An engine that has work and makes no step for this long fails /healthz; or for four full steps, if those take longer here.',
    ),
  ENGINE_STALL_EXIT_MS: ms(1000, 3_600_000)
    .default(10_000)
    .describe('… and for this long ends its worker, so that its turns go on elsewhere.'),
  FLUSH_MS: ms(0, 1000)
    .default(40)
    .describe('Tokens are gathered this long before they are appended to the turn log …'),
  FLUSH_TOKENS: flushTokens.default(4).describe('… or until there are this many …'),
  FLUSH_LATER_TOKENS: flushTokens
    .default(64)
    .describe('… or, behind the first hundred of a reply, this many.'),
});

export interface Config {
  readonly home: string;
  readonly processName: string;
  readonly catalogPath: string;
  readonly logLevel: string;
  readonly http: {
    readonly host: string;
    readonly port: number;
    readonly maxBodyBytes: number;
    readonly streamBufferBytes: number;
    readonly streamStallMs: number;
    readonly heartbeatMs: number;
    readonly disconnectGraceMs: number;
    readonly drainMs: number;
  };
  readonly metricsPort: number;
  readonly postgres: {
    readonly url: string;
    readonly replicaUrls: readonly string[];
    /** Connections to each node of each. */
    readonly poolSize: number;
    readonly maxLagMs: number;
    readonly namedStatements: boolean;
    /** Shards 1, 2, …; none as a rule. */
    readonly shardUrls: readonly string[];
    /** Of the tables' owner, by shard. */
    readonly ownerUrls: readonly string[];
  };
  readonly redis: { readonly url: string };
  /** Of recent turns, see redis/conversation-cache.ts. The same in every process. */
  readonly cache: { readonly bytes: number; readonly turns: number };
  readonly temporal: {
    readonly address: string;
    readonly namespace: string;
    readonly workflowBundle: string;
    readonly stackTraces: boolean;
  };
  readonly memory: {
    /** The encoder's file, absolute. */
    readonly encoderPath: string;
    readonly recallMs: number;
  };
  readonly engine: {
    readonly threads: number;
    readonly stallMs: number;
    readonly stallExitMs: number;
  };
  /** When tokens are appended to the turn log, see activities/token-flusher.ts. */
  readonly generate: {
    readonly flushMs: number;
    readonly flushTokens: number;
    readonly laterFlushTokens: number;
  };
}

/**
 * Parses the environment.
 * @throws Error that lists every bad variable with the received value's fault. Secrets in URLs are never echoed.
 */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const result = ENVIRONMENT.safeParse(given);
  if (!result.success)
    throw new Error(`The configuration is not valid:\n${z.prettifyError(result.error)}`);
  const each = result.data;
  return Object.freeze({
    home: resolve(each.COLLOQUY_HOME),
    processName: each.COLLOQUY_PROCESS_NAME,
    catalogPath: resolve(each.CATALOG_PATH),
    logLevel: each.LOG_LEVEL,
    http: {
      host: each.HOST,
      port: each.PORT,
      maxBodyBytes: each.MAX_BODY_BYTES,
      streamBufferBytes: each.STREAM_BUFFER_BYTES,
      streamStallMs: each.STREAM_STALL_MS,
      heartbeatMs: each.HEARTBEAT_MS,
      disconnectGraceMs: each.DISCONNECT_GRACE_MS,
      drainMs: each.DRAIN_MS,
    },
    metricsPort: each.METRICS_PORT,
    postgres: {
      url: each.DATABASE_URL,
      replicaUrls: each.DATABASE_REPLICA_URLS.split(',').filter((url) => url !== ''),
      poolSize: each.DATABASE_POOL_SIZE,
      maxLagMs: each.DATABASE_REPLICA_MAX_LAG_MS,
      namedStatements: each.DATABASE_NAMED_STATEMENTS === 'true',
      shardUrls: each.DATABASE_SHARD_URLS.split(',').filter((url) => url !== ''),
      ownerUrls: (each.DATABASE_OWNER_URL === ''
        ? `${each.DATABASE_URL},${each.DATABASE_SHARD_URLS}`
        : each.DATABASE_OWNER_URL
      )
        .split(',')
        .filter((url) => url !== ''),
    },
    redis: { url: each.REDIS_URL },
    cache: { bytes: each.CONVERSATION_CACHE_BYTES, turns: each.CONVERSATION_CACHE_TURNS },
    temporal: {
      address: each.TEMPORAL_ADDRESS,
      namespace: each.TEMPORAL_NAMESPACE,
      workflowBundle: resolve(each.WORKFLOW_BUNDLE),
      stackTraces: each.WORKFLOW_STACK_TRACES === 'true',
    },
    memory: {
      encoderPath: resolve(each.COLLOQUY_HOME, each.ENCODER_WEIGHTS),
      recallMs: each.MEMORY_RECALL_MS,
    },
    engine: {
      threads: each.INFERENCE_THREADS,
      stallMs: each.ENGINE_STALL_MS,
      stallExitMs: each.ENGINE_STALL_EXIT_MS,
    },
    generate: {
      flushMs: each.FLUSH_MS,
      flushTokens: each.FLUSH_TOKENS,
      laterFlushTokens: each.FLUSH_LATER_TOKENS,
    },
  });
}

/** A path of the catalogue: absolute as it is, relative below the home folder. */
export function inHome(config: Config, path: string): string {
  return resolve(join(config.home), path);
}
