// The turn worker inside a gateway: it shares the gateway's Temporal connection, so a start comes back with its first
// workflow task and the short steps run without another hop.
import type { NativeConnection, Worker } from '@temporalio/worker';
import { createTurnActivities } from '../activities/turn-steps.ts';
import type { TurnStepDeps } from '../activities/turn-steps.ts';
import { TURN_TASK_QUEUE } from '../contracts/turn-workflow.ts';
import type { Config } from '../process/config.ts';
import { createWorker } from '../process/temporal.ts';

export interface EmbeddedWorker {
  /** Rejects when the worker fails for good. */
  readonly running: Promise<void>;
  isRunning(): boolean;
  /** Lets running steps end; waiting work goes to other workers. */
  stop(): Promise<void>;
}

export async function startEmbeddedWorker(
  connection: NativeConnection,
  config: Config,
  identity: string,
  deps: TurnStepDeps,
): Promise<EmbeddedWorker> {
  const worker: Worker = await createWorker(connection, config.temporal, {
    taskQueue: TURN_TASK_QUEUE,
    identity,
    activities: createTurnActivities(deps),
    hasWorkflows: true,
    maxConcurrentActivities: 50,
    graceMs: config.http.drainMs,
  });
  const running = worker.run();
  return {
    running,
    isRunning: () => worker.getState() === 'RUNNING',
    stop: async () => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
    },
  };
}
