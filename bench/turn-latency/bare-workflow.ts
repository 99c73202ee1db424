// The bare path that a turn is compared with: one local activity, then one remote activity that appends one entry.
import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { appendOne, prepare } from './bare-activities.ts';

const local = proxyLocalActivities<{ prepare: typeof prepare }>({ startToCloseTimeout: '5s' });
const remote = proxyActivities<{ appendOne: ReturnType<typeof appendOne> }>({
  startToCloseTimeout: '5s',
  taskQueue: 'bench-gen',
});

export async function bareTurn(turnId: string): Promise<void> {
  await local.prepare();
  await remote.appendOne(turnId);
}
