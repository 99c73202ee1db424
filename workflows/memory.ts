// Long-term memory, off the turn's path: a schedule sweeps idle conversations and extracts each once per last turn.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { log, ParentClosePolicy, proxyActivities, startChild } from '@temporalio/workflow';
import type { createMemoryActivities } from '../activities/memory.ts';
import type { IdleConversation } from '../contracts/background-work.ts';

const { findIdleConversations, extractMemory: extract } = proxyActivities<
  ReturnType<typeof createMemoryActivities>
>({
  startToCloseTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '30s', maximumAttempts: 5 },
});

/** Started by the schedule; one child for each idle conversation, named so that a repeat is refused. */
export async function memorySweep(): Promise<number> {
  const idle = await findIdleConversations();
  for (const each of idle) {
    try {
      await startChild(extractMemory, {
        workflowId: `memory/${each.conversationId}/${each.lastTurnId}`,
        args: [each],
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
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

/** Everything up to `lastTurnId` is considered once; the boundary moves in the same transaction as the facts. */
export async function extractMemory(idle: IdleConversation): Promise<void> {
  await extract(idle);
}
