// The Temporal schedules of the background worker. Made at its start; an operator may pause or change them in the UI.
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import type { Duration } from '@temporalio/common';
import { BACKGROUND_TASK_QUEUE } from '../contracts/turn-workflow.ts';

const SCHEDULES = [
  // A turn left behind by a dead gateway waits at most this long plus its staleness.
  { scheduleId: 'maintenance', workflowType: 'maintenance', every: '30s' },
  { scheduleId: 'memory-sweep', workflowType: 'memorySweep', every: '60s' },
  // Until a conversation's older turns are summarised, its prompts are longer, not wrong.
  { scheduleId: 'summary-sweep', workflowType: 'summarySweep', every: '20s' },
  // There are months ahead: an hour is often, and soon enough for an operator who looks after it.
  { scheduleId: 'partitions', workflowType: 'partitions', every: '1h' },
  { scheduleId: 'retention', workflowType: 'retention', every: '6h', timeout: '24h' },
  // At most so often are files rewritten after deletions; without any it does nothing.
  { scheduleId: 'scrub', workflowType: 'scrubFiles', every: '15m', timeout: '6h' },
] as const satisfies readonly Schedule[];

interface Schedule {
  readonly scheduleId: string;
  readonly workflowType: string;
  readonly every: Duration;
  /** Of a run as a whole; default 5 minutes. */
  readonly timeout?: Duration;
}

/** Creates what is missing and leaves what is there. */
export async function ensureSchedules(client: Client): Promise<void> {
  const schedules: readonly Schedule[] = SCHEDULES;
  for (const { scheduleId, workflowType, every, timeout = '5m' } of schedules) {
    try {
      await client.schedule.create({
        scheduleId,
        spec: { intervals: [{ every }] },
        policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '2m' },
        action: {
          type: 'startWorkflow',
          workflowType,
          taskQueue: BACKGROUND_TASK_QUEUE,
          workflowExecutionTimeout: timeout,
        },
      });
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    }
  }
}
