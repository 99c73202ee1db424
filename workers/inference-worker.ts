// Process entry: `--pool NAME`. Loads the pool's model and generates its turns.
import { parseArgs } from 'node:util';
import { createFactJudge } from '../activities/fact-judge.ts';
import { createGenerateActivities } from '../activities/generate.ts';
import { createSummariseActivities } from '../activities/summarise.ts';
import { createExtractionActivities } from '../activities/memory-extraction.ts';
import { poolTaskQueue } from '../contracts/catalog.ts';
import { RuleFactGuard } from '../moderation/fact-guard.ts';
import { main } from '../process/start.ts';
import { createWorker } from '../process/temporal.ts';
import { ChannelHub } from '../redis/channel-hub.ts';
import { connectSubscriber } from '../redis/connection.ts';
import { publishPressure } from '../redis/pool-pressure.ts';
import { RedisTurnLogReader } from '../redis/turn-log-reader.ts';
import { RedisTurnReaders } from '../redis/turn-readers.ts';
import { RedisTurnLogWriter } from '../redis/turn-log-writer.ts';
import { observeEngine } from './engine-metrics.ts';
import { LazyEmbedder } from './lazy-embedder.ts';
import { createPoolModel } from './pool-model.ts';
import { startWorkerProcess } from './worker-process.ts';

/** Pressure is published this often; gateways believe it for PRESSURE_TTL_MS. */
const PRESSURE_INTERVAL_MS = 500;

main('inference-worker', async () => {
  const { values } = parseArgs({ options: { pool: { type: 'string' } } });
  const {
    config,
    identity,
    leases,
    logger,
    metrics,
    catalog,
    stores,
    redis,
    temporal,
    shutdown,
    run,
  } = await startWorkerProcess('inference-worker');
  const poolName = values.pool ?? '';
  const pool = catalog.pools[poolName];
  if (pool === undefined)
    throw new Error(`--pool must be one of ${Object.keys(catalog.pools).join(', ')}`);

  const poolModel = createPoolModel({
    config,
    pool,
    env: process.env,
    onStep: (step) => metrics.engineStep.observe({ pool: poolName }, step.durationMs / 1000),
    onListenerError: (error) => logger.error({ error }, 'a sequence listener failed'),
    // A broken engine is not repaired in place: the process goes, its turns continue elsewhere.
    onFailure: (error) => {
      logger.fatal({ error }, 'the engine failed');
      void shutdown.stop(1);
    },
    // Its thread may never come back, and both a close and an orderly exit would wait for it. Its heartbeats end with the
    // process, so the turns continue elsewhere.
    onStalled: (stalledMs) => {
      logger.fatal({ stalledMs }, 'the engine stalled, the process kills itself');
      process.kill(process.pid, 'SIGKILL');
    },
  });
  const { model, isAlive } = poolModel;
  shutdown.onStop('model', () => poolModel.close());
  logger.info({ stallMs: await poolModel.prove() }, 'the engine gave its first token');
  observeEngine(metrics, poolName, model.engine);

  const hub = new ChannelHub(
    connectSubscriber(redis, (error) => logger.warn({ error }, 'redis subscriber error')),
  );
  shutdown.onStop('subscriber', () => hub.close());
  const pressure = setInterval(() => {
    publishPressure(redis, poolName, String(process.pid), model.engine.stats()).catch(
      (error: unknown) => logger.debug({ error }, 'pressure not published'),
    );
  }, PRESSURE_INTERVAL_MS);
  shutdown.onStop('pressure', () => clearInterval(pressure));

  const encoder = new LazyEmbedder(config.memory.encoderPath);
  shutdown.onStop('encoder', () => encoder.close());
  const activities = {
    ...createGenerateActivities({
      stores,
      catalog,
      metrics,
      logger,
      model,
      leases,
      turnLog: new RedisTurnLogWriter(redis),
      control: new RedisTurnLogReader(redis, hub),
      readers: new RedisTurnReaders(redis),
      flush: config.generate,
    }),
    ...createSummariseActivities({ stores, catalog, model, logger }),
    ...createExtractionActivities({
      stores,
      logger,
      guard: new RuleFactGuard(),
      // A remote server is asked for turns only: it takes no choices, and what it is asked may cost money.
      judge: pool.kind === 'native' ? createFactJudge(model) : null,
      embedder: () => encoder.get(),
    }),
  };
  const worker = await createWorker(temporal, config.temporal, {
    identity,
    taskQueue: poolTaskQueue(poolName),
    activities,
    hasWorkflows: false,
    // Twice what the engine runs at once: a short queue in the engine keeps its batch full, the rest waits in Temporal,
    // durably and in order of priority.
    maxConcurrentActivities: pool.max_num_seqs * 2,
    graceMs: config.http.drainMs,
  });
  await run(worker, isAlive);
});
