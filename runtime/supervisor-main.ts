// Entry of the supervisor process. Talks to the script that started it over IPC: progress, then `ready` or `failed`.
// Without --detach it lives as long as that script does.
import { createLogger } from '../process/logger.ts';
import { prepareDatabase } from './database.ts';
import { readSettings } from './settings.ts';
import { Supervisor } from './supervisor.ts';
import { serveSupervisorMetrics } from './supervisor-metrics.ts';
import type { Logger } from '../process/logger.ts';
import type { Progress } from './progress.ts';
import type { Endpoints } from './run-files.ts';
import type { SupervisedProcess } from './supervised-process.ts';

export type SupervisorMessage =
  | { readonly type: 'begin' | 'done'; readonly task: string; readonly note?: string | undefined }
  | {
      readonly type: 'update';
      readonly task: string;
      readonly note: string | { readonly bytes: number; readonly totalBytes: number };
    }
  | { readonly type: 'line'; readonly text: string }
  | { readonly type: 'ready'; readonly endpoints: Endpoints }
  | { readonly type: 'failed'; readonly message: string };

/** Exit codes that scripts/start.mjs and operators may rely on. */
const EXIT_STOPPED = 0;
const EXIT_FAILED = 1;

function tell(message: SupervisorMessage): void {
  // The reader may be gone (a detached start, a closed terminal): that must not stop the system.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

const progress: Progress = {
  begin: (task) => tell({ type: 'begin', task }),
  update: (task, note) => tell({ type: 'update', task, note }),
  done: (task, note) => tell({ type: 'done', task, note }),
  line: (text) => tell({ type: 'line', text }),
};

async function main(): Promise<void> {
  const isDetached = process.argv.includes('--detach');
  const settings = readSettings(
    process.argv.slice(2).filter((flag) => flag !== '--detach'),
    process.env,
  );
  const logger = createLogger('supervisor', {
    logLevel: settings.logLevel,
    processName: 'supervisor',
  });
  let isReady = false;
  /** Nobody may be watching. */
  const line = (text: string): void => {
    logger.info({ text }, 'told the operator');
    progress.line(text);
  };
  const onChange = (changed: SupervisedProcess): void => {
    metrics.observe(changed);
    const { name } = changed.spec;
    logger.info(
      {
        process: name,
        state: changed.state,
        childPid: changed.identity?.pid,
        deaths: changed.numDeaths,
      },
      'process changed',
    );
    if (isReady && changed.state === 'backing-off') line(`${name} died and is started again.`);
  };
  const supervisor = new Supervisor({
    settings,
    env: process.env,
    workingFolder: process.cwd(),
    progress: { ...progress, line },
    prepareDatabase,
    onChange,
  });
  const metrics = await serveSupervisorMetrics(() => supervisor.all);
  let isStopping = false;
  const stop = async (exitCode: number): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    await supervisor.stop();
    logger.info('stopped');
    process.exit(exitCode);
  };
  installSignals(
    logger,
    supervisor,
    () => isStopping,
    () => stop(EXIT_STOPPED),
  );
  // `npm run restart -- --rolling`
  process.on('SIGUSR2', () => {
    logger.info('rolling restart');
    supervisor.restartEach().then(
      () => logger.info('rolling restart is done'),
      (error: unknown) =>
        logger.error({ reason: (error as Error).message }, 'rolling restart ended early'),
    );
  });
  if (!isDetached) process.once('disconnect', () => void stop(EXIT_STOPPED));
  try {
    const endpoints = await supervisor.start(metrics.url);
    isReady = true;
    logger.info({ gateways: endpoints.gateways }, 'ready');
    tell({ type: 'ready', endpoints });
  } catch (error) {
    if (isStopping) return;
    logger.error({ reason: (error as Error).message }, 'start failed');
    tell({ type: 'failed', message: (error as Error).message });
    await stop(EXIT_FAILED);
  }
}

/** The first signal stops in order, the second at once. */
function installSignals(
  logger: Logger,
  supervisor: Supervisor,
  isStopping: () => boolean,
  stop: () => Promise<void>,
): void {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      logger.info({ signal }, 'stopping');
      if (isStopping()) supervisor.kill();
      else void stop();
    });
  }
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      // A supervisor that ends here would leave everything running without one.
      logger.error(
        { reason: error instanceof Error ? error.stack : String(error) },
        event === 'uncaughtException' ? 'uncaught exception' : 'unhandled rejection',
      );
    });
  }
}

main().catch((error: unknown) => {
  tell({ type: 'failed', message: (error as Error).message });
  process.exitCode = EXIT_FAILED;
  process.disconnect?.();
});
