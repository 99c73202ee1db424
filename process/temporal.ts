// Temporal connections and the one way a worker is made: shared by the gateway's embedded worker and by workers/.
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import type { Worker, WorkerOptions } from '@temporalio/worker';
import type { Config } from './config.ts';
import type { Logger } from './logger.ts';
import { WatchedWorker } from './watched-worker.ts';

/** Feeds the SDK's lines to the process's logger. Call once, before the first connection. */
export function installTemporalRuntime(logger: Logger): void {
  const temporal = logger.child({ component: 'temporal' });
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message, meta }) => {
      const line = {
        sdkMessage: message,
        workflowId: meta?.['workflowId'] as unknown,
        activity: meta?.['activityType'] as unknown,
      };
      if (level === 'ERROR') temporal.error(line, 'sdk error');
      else temporal.warn(line, 'sdk warning');
    }),
    // Signals are ours: process/shutdown stops workers in its own order.
    shutdownSignals: [],
  });
}

/** No compression: the frontend is on this machine or in the same network, and a turn is a handful of small messages. */
export function connectTemporal(settings: Config['temporal']): Promise<NativeConnection> {
  return NativeConnection.connect({
    address: settings.address,
    grpcCompression: { codec: 'none' },
  });
}

export interface WorkerSettings {
  readonly taskQueue: string;
  /** The process, as its lease names it. */
  readonly identity: string;
  readonly activities: object;
  /** Run workflow tasks too, from the prebuilt bundle. */
  readonly hasWorkflows: boolean;
  readonly maxConcurrentActivities: number;
  /** Activities may go on this long after a stop begins; then they are told and retried elsewhere. */
  readonly graceMs: number;
}

/** A worker that polls at once when run(). Cached workflows are bounded: one is about 1 MB, and a turn lives for seconds. */
export function createWorker(
  connection: NativeConnection,
  settings: Config['temporal'],
  worker: WorkerSettings,
): Promise<Worker> {
  const workflows: Partial<WorkerOptions> = worker.hasWorkflows
    ? {
        workflowBundle: { codePath: settings.workflowBundle },
        showStackTraceSources: settings.stackTraces,
        maxCachedWorkflows: 200,
        maxConcurrentWorkflowTaskExecutions: 40,
        // A worker that died is noticed by its sticky queue's silence: the next task goes to another one after this.
        stickyQueueScheduleToStartTimeout: '1s',
      }
    : {};
  return WatchedWorker.create({
    connection,
    namespace: settings.namespace,
    taskQueue: worker.taskQueue,
    identity: worker.identity,
    activities: worker.activities,
    maxConcurrentActivityTaskExecutions: worker.maxConcurrentActivities,
    // Each open poll of a process that freezes swallows one task. Two fetch hundreds of tasks a second.
    activityTaskPollerBehavior: { type: 'simple-maximum', maximum: 2 },
    maxConcurrentLocalActivityExecutions: 100,
    shutdownGraceTime: worker.graceMs,
    shutdownForceTime: worker.graceMs + 5000,
    // Cancels and time-outs reach an activity with a heartbeat's answer; the push path is faster, this one is certain.
    maxHeartbeatThrottleInterval: '1s',
    ...workflows,
  });
}
