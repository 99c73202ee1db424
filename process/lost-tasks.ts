// What a lost process ran is handed back to Temporal, which makes the next attempt at once.
import { ActivityNotFoundError, AsyncCompletionClient } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { NativeConnection } from '@temporalio/worker';
import type { LeasedTask, LostProcess } from '../contracts/process-leases.ts';
import type { Config } from './config.ts';
import type { Logger } from './logger.ts';

export interface LostTasksOptions {
  readonly connection: NativeConnection;
  readonly settings: Config['temporal'];
  readonly logger: Logger;
}

/** The lease was the waiting; the retry policy's pause would be on top of it. */
const RETRY_DELAY = '1ms';
/** A frozen process's polls are open still, and the next attempt may go to one of them: looked at this often … */
const LOOK_MS = 100;
/** … and this many times. */
const NUM_LOOKS = 10;
/**
 * A worker has two open polls, and each takes one task at most. One that goes on taking them lives: it was only starved, and
 * handing its attempts back for ever would use up the turn's.
 */
const MAX_SWALLOWED = 2;
/** PendingActivityState of temporal.api.enums.v1. */
const STARTED = 2;

/**
 * Fails the attempts of a lost process. A token stands for one attempt: when that has ended or was failed by somebody
 * else, nothing happens. Resolves when that is done; what the process's open polls swallow is followed afterwards.
 */
export function createLostTasks({ connection, settings, logger }: LostTasksOptions) {
  const { namespace } = settings;
  const client = new AsyncCompletionClient({ connection, namespace });
  const failure = ApplicationFailure.create({
    type: 'GENERATION_FAILED',
    message: 'its worker was lost; another one continues',
    nextRetryDelay: RETRY_DELAY,
  });
  /** False when there was nothing to fail. */
  const isFailed = async (fail: Promise<void>): Promise<boolean> =>
    fail.then(
      () => true,
      (error: unknown) => {
        if (error instanceof ActivityNotFoundError) return false;
        throw error;
      },
    );

  const isSwallowed = async (task: LeasedTask, process: string): Promise<boolean | 'gone'> => {
    const { pendingActivities } = await connection.workflowService.describeWorkflowExecution({
      namespace,
      execution: { workflowId: task.workflowId, runId: task.runId },
    });
    const pending = pendingActivities?.find(({ activityId }) => activityId === task.activityId);
    if (pending === undefined) return 'gone';
    return pending.state === STARTED && pending.lastWorkerIdentity === process;
  };

  const follow = async (task: LeasedTask, process: string): Promise<void> => {
    const { workflowId, runId, activityId } = task;
    let numSwallowed = 0;
    for (let look = 0; look < NUM_LOOKS && numSwallowed < MAX_SWALLOWED; look += 1) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      const swallowed = await isSwallowed(task, process);
      if (swallowed === 'gone') return;
      if (!swallowed) continue;
      numSwallowed += 1;
      await isFailed(client.fail({ workflowId, runId, activityId }, failure));
    }
  };

  return async ({ process, tasks }: LostProcess): Promise<void> => {
    const failed = await Promise.all(
      tasks.map((task) => isFailed(client.fail(Buffer.from(task.token, 'base64'), failure))),
    );
    const handedBack = tasks.filter((_, index) => failed[index]);
    logger.warn({ lost: process, tasks: handedBack.length }, 'a process was lost');
    for (const task of handedBack)
      follow(task, process).catch((error: unknown) => {
        logger.warn({ error }, 'a task that was handed back is not followed'); // Its time-out finds it.
      });
  };
}
