// The Temporal schedules of the background worker. Made at its start; an operator may pause or change them in the UI.
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import { BACKGROUND_TASK_QUEUE } from '../contracts/turn-workflow.ts';

const SCHEDULES = [
  // A turn left behind by a dead gateway waits at most this long plus its staleness.
  { scheduleId: 'maintenance', workflowType: 'maintenance', every: '30s' },
  { scheduleId: 'memory-sweep', workflowType: 'memorySweep', every: '60s' },
  // Until a conversation's older turns are summarised, its prompts are longer, not wrong.
  { scheduleId: 'summary-sweep', workflowType: 'summarySweep', every: '20s' },
] as const;

/** Creates what is missing and leaves what is there. */
export async function ensureSchedules(client: Client): Promise<void> {
  for (const { scheduleId, workflowType, every } of SCHEDULES) {
    try {
      await client.schedule.create({
        scheduleId,
        spec: { intervals: [{ every }] },
        policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '2m' },
        action: {
          type: 'startWorkflow',
          workflowType,
          taskQueue: BACKGROUND_TASK_QUEUE,
          workflowExecutionTimeout: '5m',
        },
      });
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    }
  }
}
