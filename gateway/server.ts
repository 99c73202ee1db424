// Process entry of a gateway: wiring, listening, and draining.
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRecentTurns } from '../activities/recent-turns.ts';
import { Embedder } from '../inference/embedder.ts';
import { RuleModerator } from '../moderation/input-policy.ts';
import { validKeys } from '../postgres/api-keys.ts';
import { createSchemaCheck } from '../postgres/migrate.ts';
import { isWritable, openStores } from '../postgres/open-stores.ts';
import { Silence } from '../postgres/silence.ts';
import { impatientStores } from '../postgres/stores.ts';
import { walledStores } from '../postgres/walled-stores.ts';
import { createErasureDispatch } from '../process/erasure-dispatch.ts';
import { createLostTasks } from '../process/lost-tasks.ts';
import { storeInstruments } from '../process/metrics.ts';
import { projectPath } from '../process/paths.ts';
import { main, refuseWrongSchema, startProcess } from '../process/start.ts';
import { connectTemporal, installTemporalRuntime } from '../process/temporal.ts';
import { createTurnDispatch } from '../process/turn-dispatch.ts';
import { ChannelHub } from '../redis/channel-hub.ts';
import { connectRedis, connectSubscriber, servesAll } from '../redis/connection.ts';
import { RedisConversationCache } from '../redis/conversation-cache.ts';
import { ProcessLeases } from '../redis/process-leases.ts';
import { RedisLimiter } from '../redis/limiter.ts';
import { leastWaiting } from '../redis/pool-pressure.ts';
import { RedisTurnLog } from '../redis/turn-log.ts';
import { RedisTurnReaders } from '../redis/turn-readers.ts';
import { RedisWriteMarks } from '../redis/write-marks.ts';
import { lookAheadOf } from '../contracts/catalog.ts';
import { createApp } from './app.ts';
import { DisconnectGrace } from './disconnect-grace.ts';
import { startEmbeddedWorker } from './embedded-worker.ts';
import { answerClientError } from './error-handler.ts';
import { KeyWatch } from './key-watch.ts';
import { OpenStreams } from './open-streams.ts';
import { TurnOpenings } from './turn-openings.ts';
import { openPromptEncoders } from './prompt-encoders.ts';
import { ReaderProgress } from './reader-progress.ts';

/** Who asks is answered within two seconds, whatever hangs: a request meets Redis twice before it is refused, … */
const REDIS_ANSWER_MS = 800;
/** … the store once. */
const DATABASE_ANSWER_MS = 1500;
/**
 * Connections that the kernel may hold for us. When all readers of a gateway that died come at once, Node's own 511 are
 * soon full, and whoever is dropped then tries again only after a second, or hangs.
 */
const LISTEN_BACKLOG = 4096;

main('gateway', async () => {
  const { config, identity, logger, shutdown, catalog, metrics } = startProcess(
    'gateway',
    process.env,
  );
  const onError = (error: Error): void => logger.warn({ error }, 'redis connection error');
  const redis = connectRedis({
    url: config.redis.url,
    scriptsFolder: projectPath('redis', 'lua'),
    onError,
    answerMs: REDIS_ANSWER_MS,
  });
  shutdown.onStop('redis', () => redis.disconnect());
  const opened = openStores({
    settings: config.postgres,
    marks: new RedisWriteMarks(redis),
    onError: (error) =>
      logger.warn({ error }, 'a database connection broke, or the shard map was not read'),
    ...storeInstruments(metrics),
  });
  shutdown.onStop('postgres', () => opened.end());
  const hasSchema = createSchemaCheck(opened.directory, projectPath('migrations'));
  await refuseWrongSchema(hasSchema);
  const stores = walledStores(opened, { hasSweeps: false });
  const hub = new ChannelHub(connectSubscriber(redis, onError));
  shutdown.onStop('subscriber', () => hub.close());
  installTemporalRuntime(logger);
  const connection = await connectTemporal(config.temporal);
  shutdown.onStop('temporal', () => connection.close());

  // A gateway watches and holds nothing.
  const leases = new ProcessLeases({
    redis,
    process: null,
    onLost: createLostTasks({ connection, settings: config.temporal, logger }),
    onError: (error) => logger.debug({ error }, 'leases were not looked at'),
  });
  shutdown.onStop('lease', () => leases.stop());
  const turnLog = new RedisTurnLog(redis, hub);
  const cache = new RedisConversationCache(redis, config.cache);
  const limiter = new RedisLimiter(redis);
  const openings = new TurnOpenings();
  const embedded = await startEmbeddedWorker(connection, config, identity, {
    stores,
    catalog,
    metrics,
    logger,
    turnLog,
    cache,
    limiter,
    moderator: new RuleModerator(),
    openings,
  });
  shutdown.onStop('turn worker', () => embedded.stop());
  leases.start();
  embedded.running.catch((error: unknown) => {
    logger.fatal({ error }, 'the embedded turn worker failed');
    return shutdown.stop(1);
  });
  const encoders = openPromptEncoders(config, catalog, logger);
  shutdown.onStop('vocabularies', () => encoders.close());
  const dispatch = createTurnDispatch({
    connection,
    settings: config.temporal,
    catalog,
    isEager: true,
  });
  const grace = new DisconnectGrace({
    turnLog,
    dispatch,
    logger,
    graceMs: config.http.disconnectGraceMs,
  });
  const { encoderPath, recallMs } = config.memory;
  const embedder = existsSync(encoderPath)
    ? new Embedder({ modelPath: encoderPath, threads: config.engine.threads })
    : null;
  if (embedder === null) logger.warn('no encoder weights: facts are told to no turn');
  else shutdown.onStop('encoder', () => embedder.close());
  const streams = new OpenStreams(metrics, config.http);
  const keys = new KeyWatch({
    valid: (keyHashes) => validKeys(stores.directory, keyHashes),
    onError: (error) => logger.warn({ error }, 'the keys of open streams were not looked at'),
  });
  const readerProgress = new ReaderProgress({
    readers: new RedisTurnReaders(redis),
    gateway: identity,
    hasLookAhead: (name) => lookAheadOf(catalog, name) !== null,
    onError: (error) => logger.debug({ error }, 'what readers do was not told'),
  });
  const silence = new Silence();
  const ready = {
    postgres: async () => !silence.isSilent && (await isWritable(stores.directory)),
    schema: hasSchema,
    redis: () => servesAll(redis),
    temporal: async () => {
      await connection.workflowService.getSystemInfo({});
      return true;
    },
    turn_worker: () => embedded.isRunning(),
  };
  const app = createApp({
    stores: impatientStores(stores, DATABASE_ANSWER_MS, silence.onEnd),
    turnLog,
    cache,
    recentTurns: createRecentTurns({ cache, metrics, cachedTurns: config.cache.turns }),
    limiter,
    openings,
    dispatch,
    erasure: createErasureDispatch(dispatch.client),
    catalog,
    encoderOf: encoders.of,
    metrics,
    logger,
    streams,
    keys,
    grace,
    readerProgress,
    ready,
    http: config.http,
    leastWaiting: (pool) => leastWaiting(redis, pool),
    memory: { embedder, recallMs },
  });
  const server = createServer(
    {
      keepAliveTimeout: 65_000,
      headersTimeout: 10_000,
      requestTimeout: 60_000,
      // Node looks this often for requests that are over their time; sockets that never finish a header live no longer.
      connectionsCheckingInterval: 5000,
    },
    app,
  );
  server.on('clientError', answerClientError);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const { port, host } = config.http;
    server.listen({ port, host, backlog: LISTEN_BACKLOG }, resolve);
  });
  shutdown.onStop('http', async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    grace.stop();
    streams.drain();
    keys.stop();
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 1000).unref();
    await closed;
  });
  logger.info({ port: (server.address() as AddressInfo).port }, 'started');
});
