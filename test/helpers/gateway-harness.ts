// Gateways in this process on the turn harness's real services: the real app, a fake model behind it.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRecentTurns } from '../../activities/recent-turns.ts';
import { loadCatalog, lookAheadOf } from '../../contracts/catalog.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { TextEmbedder } from '../../contracts/text-embedder.ts';
import type { TurnDispatch } from '../../contracts/turn-dispatch.ts';
import type { PromptEncoderOf } from '../../contracts/prompt-encoder.ts';
import { createApp } from '../../gateway/app.ts';
import { DisconnectGrace } from '../../gateway/disconnect-grace.ts';
import { answerClientError } from '../../gateway/error-handler.ts';
import { KeyWatch } from '../../gateway/key-watch.ts';
import { OpenStreams } from '../../gateway/open-streams.ts';
import { ReaderProgress } from '../../gateway/reader-progress.ts';
import { validKeys } from '../../postgres/api-keys.ts';
import { seedDemo } from '../../postgres/demo-users.ts';
import type { DemoUser } from '../../postgres/demo-users.ts';
import { createErasureDispatch } from '../../process/erasure-dispatch.ts';
import { createLogger } from '../../process/logger.ts';
import { createMetrics } from '../../process/metrics.ts';
import { projectPath } from '../../process/paths.ts';
import { leastWaiting } from '../../redis/pool-pressure.ts';
import { RedisLimiter } from '../../redis/limiter.ts';
import { RedisTurnLog } from '../../redis/turn-log.ts';
import { RedisTurnReaders } from '../../redis/turn-readers.ts';
import { fakePromptEncoder } from './fake-served-model.ts';
import { startTurnHarness } from './turn-harness.ts';
import type { HarnessOptions, TurnHarness } from './turn-harness.ts';

export interface GatewayOptions {
  readonly catalog?: Catalog;
  readonly dispatch?: TurnDispatch;
  readonly disconnectGraceMs?: number;
  /** Left out, it counts as the fake model does. */
  readonly encoderOf?: PromptEncoderOf;
  /** Null when left out: facts are told to no turn. */
  readonly embedder?: TextEmbedder;
  readonly recallMs?: number;
}

export interface GatewayHarness {
  readonly turns: TurnHarness;
  readonly tokens: Readonly<Record<DemoUser, string>>;
  readonly users: Readonly<Record<DemoUser, string>>;
  /** Another gateway on the same services; closed with the harness. Returns its base URL. */
  startGateway(options?: GatewayOptions): Promise<string>;
  close(): Promise<void>;
}

export const MAX_BODY_BYTES = 64 * 1024;

export async function startGatewayHarness(options: HarnessOptions = {}): Promise<GatewayHarness> {
  const turns = await startTurnHarness(undefined, options);
  const tokens = {
    free: 'cq_free',
    paid: 'cq_paid',
    enterprise: 'cq_enterprise',
    admin: 'cq_admin',
  };
  const { users } = await seedDemo(turns.databaseUrl, tokens);
  const closers: (() => Promise<void>)[] = [];

  const startGateway = async (options: GatewayOptions = {}): Promise<string> => {
    const logger = createLogger('gateway', { logLevel: 'fatal', processName: '' });
    const metrics = createMetrics();
    const turnLog = new RedisTurnLog(turns.redis, turns.hub);
    const dispatch = options.dispatch ?? turns.dispatch;
    const grace = new DisconnectGrace({
      turnLog,
      dispatch,
      logger,
      graceMs: options.disconnectGraceMs ?? 60_000,
    });
    const catalog = options.catalog ?? loadCatalog(projectPath('config', 'catalog.yaml'));
    const readerProgress = new ReaderProgress({
      readers: new RedisTurnReaders(turns.redis),
      gateway: randomUUID(),
      hasLookAhead: (pool) => lookAheadOf(catalog, pool) !== null,
      onError: () => undefined,
    });
    const limits = { heartbeatMs: 60_000, streamBufferBytes: 64 * 1024 * 1024 };
    const streams = new OpenStreams(metrics, limits);
    const keys = new KeyWatch({
      valid: (keyHashes) => validKeys(turns.stores.directory, keyHashes),
      onError: () => undefined,
    });
    const app = createApp({
      stores: turns.stores,
      turnLog,
      cache: turns.cache,
      recentTurns: createRecentTurns({ cache: turns.cache, metrics, cachedTurns: 64 }),
      openings: turns.openings,
      dispatch,
      erasure: createErasureDispatch(turns.dispatch.client),
      logger,
      metrics,
      grace,
      streams,
      keys,
      limiter: new RedisLimiter(turns.redis),
      leastWaiting: (pool) => leastWaiting(turns.redis, pool),
      catalog,
      encoderOf: options.encoderOf ?? (() => fakePromptEncoder),
      readerProgress,
      memory: { embedder: options.embedder ?? null, recallMs: options.recallMs ?? 2000 },
      http: {
        host: '127.0.0.1',
        port: 0,
        ...limits,
        streamStallMs: 30_000,
        drainMs: 0,
        maxBodyBytes: MAX_BODY_BYTES,
        disconnectGraceMs: options.disconnectGraceMs ?? 60_000,
      },
      ready: { always: () => true },
    });
    const server = createServer(app);
    server.on('clientError', answerClientError);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(async () => {
      grace.stop();
      streams.drain();
      keys.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  const close = async (): Promise<void> => {
    for (const each of closers) await each();
    await turns.close();
  };
  return { turns, tokens, users, startGateway, close };
}
