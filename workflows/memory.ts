// Long-term memory, off the turn's path: a schedule sweeps idle conversations and extracts each once per last turn.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { log, ParentClosePolicy, proxyActivities, startChild } from '@temporalio/workflow';
import type { createMemoryActivities } from '../activities/memory.ts';
import type { createExtractionActivities } from '../activities/memory-extraction.ts';
import type { ExtractionReport, IdleConversation } from '../contracts/background-work.ts';

const { findIdleConversations } = proxyActivities<ReturnType<typeof createMemoryActivities>>({
  startToCloseTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '30s', maximumAttempts: 5 },
});

/** Behind everybody who waits for an answer. */
const LOWEST_PRIORITY = 5;

/** Started by the schedule; one child for each idle conversation, named so that a repeat is refused unless it failed. */
export async function memorySweep(): Promise<number> {
  const idle = await findIdleConversations();
  for (const each of idle) {
    try {
      await startChild(extractMemory, {
        workflowId: `memory/${each.conversationId}/${each.lastTurnId}`,
        args: [each],
        workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
        parentClosePolicy: ParentClosePolicy.ABANDON,
        staticSummary: `memory of conversation ${each.conversationId}`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      log.debug('memory extraction already started', { conversationId: each.conversationId });
    }
  }
  return idle.length;
}

/** Everything up to `lastTurnId` is considered once, on a worker of the conversation's pool. */
export async function extractMemory(idle: IdleConversation): Promise<ExtractionReport> {
  const { extractFacts } = proxyActivities<ReturnType<typeof createExtractionActivities>>({
    taskQueue: idle.taskQueue,
    startToCloseTimeout: '4m',
    // Within the sweep's claim, tries included: a pool that is full all day is asked again by a later sweep.
    scheduleToCloseTimeout: '25m',
    retry: { initialInterval: '2s', maximumInterval: '60s', maximumAttempts: 5 },
    priority: { priorityKey: LOWEST_PRIORITY },
    summary: 'extract facts',
  });
  return extractFacts(idle);
}
