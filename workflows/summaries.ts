// Summaries of older turns, off the turn's path: a schedule sweeps conversations that went on, and each that has become too
// long for its window gets what it lacks from its model's pool.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { log, ParentClosePolicy, proxyActivities, startChild } from '@temporalio/workflow';
import type { createSummariseActivities } from '../activities/summarise.ts';
import type { createSummaryActivities } from '../activities/summaries.ts';
import type { UnsummarisedConversation } from '../contracts/background-work.ts';

const { findUnsummarised, planSummaries, publishSummaries, closeSummaries } = proxyActivities<
  ReturnType<typeof createSummaryActivities>
>({
  startToCloseTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '30s', maximumAttempts: 5 },
});

/** Of five: turns of every tier come before it in the pool's queue. */
const LEAST_URGENT = 5;
/** A conversation of thousands of turns is worked off in so many pieces, and goes on at its next turn. */
const MAX_PIECES = 64;

/** Started by the schedule; one child for each conversation and last turn, so that a repeat is refused. */
export async function summarySweep(): Promise<number> {
  const behind = await findUnsummarised();
  for (const each of behind) {
    try {
      await startChild(summarise, {
        workflowId: `summary/${each.conversationId}/${each.lastTurnId}`,
        args: [each],
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowExecutionTimeout: '2h',
        staticSummary: `summaries of conversation ${each.conversationId}`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      log.debug('summaries already under way', { conversationId: each.conversationId });
    }
  }
  return behind.length;
}

/** Makes what a conversation lacks, piece by piece; a piece comes into force when all of it is there. Returns how many. */
export async function summarise(behind: UnsummarisedConversation): Promise<number> {
  let numMade = 0;
  try {
    for (let piece = 0; piece < MAX_PIECES; piece += 1) {
      const { tasks, through } = await planSummaries(behind);
      if (through === null) break;
      for (const task of tasks) {
        await onQueue(task.taskQueue).summarise(task);
        numMade += 1;
      }
      await publishSummaries(behind, through);
    }
  } finally {
    // Whatever could not be made is due again when the conversation goes on.
    await closeSummaries(behind);
  }
  return numMade;
}

function onQueue(taskQueue: string): ReturnType<typeof createSummariseActivities> {
  return proxyActivities<ReturnType<typeof createSummariseActivities>>({
    taskQueue,
    startToCloseTimeout: '10m',
    scheduleToStartTimeout: '15m',
    heartbeatTimeout: '10s',
    retry: {
      initialInterval: '1s',
      maximumInterval: '1m',
      maximumAttempts: 10,
      nonRetryableErrorTypes: ['CONTEXT_LENGTH_EXCEEDED', 'INVALID_REQUEST'],
    },
    priority: { priorityKey: LEAST_URGENT },
    summary: 'least urgent',
  });
}
