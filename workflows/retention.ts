// Data by the calendar, each started by its schedule: months ahead, turns that expire, files that are cleaned.
import {
  continueAsNew,
  defineQuery,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { createRetentionActivities } from '../activities/retention.ts';
import type { RetentionReport } from '../contracts/erasure.ts';
import type { UserId } from '../contracts/ids.ts';

type RetentionActivities = ReturnType<typeof createRetentionActivities>;

const { createPartitions } = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '30s', maximumAttempts: 5 },
});

// A worker that dies is noticed by its heartbeats; the next attempt finds what is left.
const { expireTurns, dropMonths, scrub } = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '2h',
  heartbeatTimeout: '2m',
  retry: { initialInterval: '5s', maximumInterval: '5m', maximumAttempts: 10 },
});

/** What the run has done so far. */
export const retentionProgress = defineQuery<RetentionReport>('progress');

const NOTHING: RetentionReport = {
  users: 0,
  conversationsErased: 0,
  conversationsTrimmed: 0,
  turns: 0,
  monthsDropped: 0,
};

export async function partitions(): Promise<number> {
  return createPartitions();
}

/** @param from where an earlier run of this execution left off, and what it had done */
export async function retention(
  from: { readonly after: UserId | null; readonly before: RetentionReport } = {
    after: null,
    before: NOTHING,
  },
): Promise<RetentionReport> {
  let report = from.before;
  setHandler(retentionProgress, () => report);
  let after = from.after;
  do {
    const step = await expireTurns(after);
    report = {
      users: report.users + step.users,
      conversationsErased: report.conversationsErased + step.conversationsErased,
      conversationsTrimmed: report.conversationsTrimmed + step.conversationsTrimmed,
      turns: report.turns + step.turns,
      monthsDropped: 0,
    };
    after = step.next;
    if (after !== null && workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof retention>({ after, before: report });
  } while (after !== null);
  report = { ...report, monthsDropped: await dropMonths() };
  return report;
}

export async function scrubFiles(): Promise<number> {
  return scrub();
}
