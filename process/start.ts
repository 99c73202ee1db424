// What every process does first: configuration, logs, the order of stopping, the catalogue, metrics; and what it says
// when it cannot start.
import { randomUUID } from 'node:crypto';
import { loadCatalog } from '../contracts/catalog.ts';
import type { Catalog } from '../contracts/catalog.ts';
import { codeOf } from '../contracts/errors.ts';
import { loadConfig } from './config.ts';
import type { Config } from './config.ts';
import { createLogger } from './logger.ts';
import type { Logger } from './logger.ts';
import { createMetrics } from './metrics.ts';
import type { Metrics } from './metrics.ts';
import { installShutdown } from './shutdown.ts';
import type { Shutdown } from './shutdown.ts';

export interface StartedProcess {
  /** Unique among all processes that ever ran: of its lease, its Temporal workers. */
  readonly identity: string;
  readonly config: Config;
  readonly logger: Logger;
  readonly shutdown: Shutdown;
  readonly catalog: Catalog;
  readonly metrics: Metrics;
}

/** Stopping may take this long beyond the drain. */
const FORCE_MS = 10_000;

/** @throws Error when the environment or the catalogue is not valid */
export function startProcess(kind: string, env: NodeJS.ProcessEnv): StartedProcess {
  const config = loadConfig(env);
  const logger = createLogger(kind, config);
  const shutdown = installShutdown(logger, config.http.drainMs + FORCE_MS);
  const catalog = loadCatalog(config.catalogPath);
  const identity = `${config.processName || kind}-${process.pid}-${randomUUID()}`;
  return { identity, config, logger, shutdown, catalog, metrics: createMetrics() };
}

/**
 * A process does not start on a schema that is not its own. A store that does not answer yet is no reason: until it does, the
 * same check keeps the process from being ready.
 * @param hasSchema see postgres/migrate.ts
 * @throws Error in one line, for whoever starts the process
 */
export async function refuseWrongSchema(hasSchema: () => Promise<boolean>): Promise<void> {
  await hasSchema().catch((error: unknown) => {
    if (codeOf(error) !== 'STORAGE_UNAVAILABLE') throw error;
  });
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
