// What every worker process does first and last: configuration, logs, stores, Temporal, operator endpoints, the order
// of stopping. Entries add their activities.
import type { NativeConnection, Worker } from '@temporalio/worker';
import { loadCatalog } from '../contracts/catalog.ts';
import type { Catalog } from '../contracts/catalog.ts';
import { createPool } from '../postgres/pool.ts';
import type { Pool } from '../postgres/pool.ts';
import { loadConfig } from '../process/config.ts';
import type { Config } from '../process/config.ts';
import { createLogger } from '../process/logger.ts';
import type { Logger } from '../process/logger.ts';
import { createMetrics } from '../process/metrics.ts';
import type { Metrics } from '../process/metrics.ts';
import { serveOperatorEndpoints } from '../process/operator-endpoints.ts';
import { projectPath } from '../process/paths.ts';
import { installShutdown } from '../process/shutdown.ts';
import type { Shutdown } from '../process/shutdown.ts';
import { connectTemporal, installTemporalRuntime } from '../process/temporal.ts';
import { connectRedis } from '../redis/connection.ts';
import type { Redis } from '../redis/connection.ts';

export interface WorkerProcess {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly catalog: Catalog;
  readonly db: Pool;
  readonly redis: Redis;
  readonly temporal: NativeConnection;
  readonly shutdown: Shutdown;
  /** Serves the operator endpoints and runs the worker until the process is stopped. */
  run(worker: Worker, isAlive?: () => boolean): Promise<void>;
}

export async function startWorkerProcess(kind: string): Promise<WorkerProcess> {
  const config = loadConfig(process.env);
  const logger = createLogger(kind, config);
  const shutdown = installShutdown(logger, config.http.drainMs + 10_000);
  const catalog = loadCatalog(config.catalogPath);
  const metrics = createMetrics();
  const db = createPool(config.postgres, (error) =>
    logger.warn({ error }, 'an idle database connection broke'),
  );
  shutdown.onStop('postgres', () => db.end());
  const redis = connectRedis({
    url: config.redis.url,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: (error) => logger.warn({ error }, 'redis connection error'),
  });
  shutdown.onStop('redis', () => redis.disconnect());
  installTemporalRuntime(logger);
  const temporal = await connectTemporal(config.temporal);
  shutdown.onStop('temporal', () => temporal.close());

  const run = async (worker: Worker, isAlive: () => boolean = () => true): Promise<void> => {
    const ready = {
      postgres: async () => (await db.query('select 1')).rowCount === 1,
      redis: async () => (await redis.ping()) === 'PONG',
      worker: () => worker.getState() === 'RUNNING',
    };
    const endpoints = await serveOperatorEndpoints(config.metricsPort, {
      registry: metrics.registry,
      ready,
      isAlive,
    });
    shutdown.onStop('endpoints', () => endpoints.close());
    const running = worker.run();
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
  return { config, logger, metrics, catalog, db, redis, temporal, shutdown, run };
}

/** Runs an entry point; a failure to start is one log line and exit code 1. */
export function main(kind: string, start: () => Promise<void>): void {
  start().catch((error: unknown) => {
    process.stderr.write(
      `${JSON.stringify({ level: 'fatal', kind, msg: 'failed to start', error: error instanceof Error ? error.message : String(error) })}\n`,
    );
    process.exit(1);
  });
}
