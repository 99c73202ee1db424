// What every worker process adds to process/start: stores, Temporal, operator endpoints, the order of stopping. Entries
// add their activities.
import type { NativeConnection, Worker } from '@temporalio/worker';
import { createSchemaCheck } from '../postgres/migrate.ts';
import { isWritable, openStores } from '../postgres/open-stores.ts';
import type { Stores } from '../postgres/stores.ts';
import { walledStores } from '../postgres/walled-stores.ts';
import { storeInstruments } from '../process/metrics.ts';
import { serveOperatorEndpoints } from '../process/operator-endpoints.ts';
import { projectPath } from '../process/paths.ts';
import { createLostTasks } from '../process/lost-tasks.ts';
import { refuseWrongSchema, startProcess } from '../process/start.ts';
import type { StartedProcess } from '../process/start.ts';
import { connectTemporal, installTemporalRuntime } from '../process/temporal.ts';
import { ProcessLeases } from '../redis/process-leases.ts';
import { connectRedis, servesAll } from '../redis/connection.ts';
import type { Redis } from '../redis/connection.ts';
import { RedisWriteMarks } from '../redis/write-marks.ts';

export interface WorkerProcess extends StartedProcess {
  readonly stores: Stores;
  readonly redis: Redis;
  readonly temporal: NativeConnection;
  /** Renewed from run() on; only inference workers hold anything. */
  readonly leases: ProcessLeases;
  /** Serves the operator endpoints and runs the worker until the process is stopped. */
  run(worker: Worker, isAlive?: () => boolean): Promise<void>;
}

export async function startWorkerProcess(kind: string): Promise<WorkerProcess> {
  const started = startProcess(kind, process.env);
  const { config, identity, logger, shutdown, metrics } = started;
  const redis = connectRedis({
    url: config.redis.url,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: (error) => logger.warn({ error }, 'redis connection error'),
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
  const stores = walledStores(opened, { hasSweeps: kind === 'background-worker' });
  installTemporalRuntime(logger);
  const temporal = await connectTemporal(config.temporal);
  shutdown.onStop('temporal', () => temporal.close());
  const leases = new ProcessLeases({
    redis,
    process: kind === 'inference-worker' ? identity : null,
    onLost: createLostTasks({ connection: temporal, settings: config.temporal, logger }),
    onError: (error) => logger.debug({ error }, 'the lease was not renewed'),
  });
  shutdown.onStop('lease', () => leases.stop());

  const run = async (worker: Worker, isAlive: () => boolean = () => true): Promise<void> => {
    const ready = {
      postgres: () => isWritable(stores.directory),
      schema: hasSchema,
      redis: () => servesAll(redis),
      worker: () => worker.getState() === 'RUNNING',
    };
    const endpoints = await serveOperatorEndpoints(config.metricsPort, {
      registry: metrics.registry,
      ready,
      isAlive,
    });
    shutdown.onStop('endpoints', () => endpoints.close());
    const running = worker.run();
    leases.start();
    shutdown.onStop('worker', async () => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
    });
    logger.info({ port: endpoints.port }, 'started');
    await running.catch((error: unknown) => {
      logger.fatal({ error }, 'the worker failed');
      return shutdown.stop(1);
    });
  };
  return { ...started, stores, redis, temporal, leases, run };
}
