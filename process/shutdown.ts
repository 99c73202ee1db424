// Starting and stopping as a feature: a process registers its stops in order, and SIGTERM or SIGINT runs them backwards.
import type { Logger } from './logger.ts';

export interface Shutdown {
  /** Runs `stop` at the end of the process, after everything registered later. */
  onStop(name: string, stop: () => Promise<void> | void): void;
  /** Stops everything once and exits with the code. */
  stop(exitCode: number): Promise<void>;
}

/**
 * Installs the signal handlers and the last resort for stray errors: log, drain, exit non-zero.
 * @param forceMs exit at the latest this long after the first signal, so that a hung dependency cannot hold the process
 */
export function installShutdown(logger: Logger, forceMs: number): Shutdown {
  const stops: { name: string; stop: () => Promise<void> | void }[] = [];
  let stopping: Promise<void> | null = null;
  const run = async (exitCode: number): Promise<void> => {
    const timer = setTimeout(() => {
      logger.error({ forceMs }, 'shutdown took too long, exiting');
      process.exit(1);
    }, forceMs);
    timer.unref();
    for (const { name, stop } of stops.reverse()) {
      try {
        await stop();
      } catch (error) {
        logger.error({ error, stop: name }, 'a shutdown step failed');
      }
    }
    logger.info('stopped');
    process.exit(exitCode);
  };
  const shutdown: Shutdown = {
    onStop: (name, stop) => void stops.push({ name, stop }),
    stop: (exitCode) => (stopping ??= run(exitCode)),
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      logger.info({ signal }, 'stopping');
      void shutdown.stop(0);
    });
  }
  for (const event of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal(
        { error },
        event === 'unhandledRejection' ? 'unhandled rejection' : 'uncaught exception',
      );
      void shutdown.stop(1);
    });
  }
  return shutdown;
}
