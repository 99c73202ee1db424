// A batch job: counts what there is to do, then does it range by range. Each range is found with the one before and is in
// the history, so a batch that is tried again does the same items, and one that was done changes nothing.
import {
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { createJobActivities } from '../activities/batch-jobs.ts';
import { JOBS } from '../contracts/batch-jobs.ts';
import type { JobInput, JobProgress } from '../contracts/batch-jobs.ts';
import { jobProgressQuery, pauseSignal, resumeSignal } from './job-messages.ts';
import { JobState } from './job-state.ts';

/** A batch waits for a store as long as it takes; a worker that died in its middle is noticed by its silence. */
function step(summary: string): ReturnType<typeof createJobActivities> {
  return proxyActivities<ReturnType<typeof createJobActivities>>({
    startToCloseTimeout: '10m',
    heartbeatTimeout: '5s',
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: {
      initialInterval: '500ms',
      backoffCoefficient: 2,
      maximumInterval: '30s',
      nonRetryableErrorTypes: ['INVALID_REQUEST', 'INVARIANT_VIOLATED'],
    },
    // Behind all else on the background queue: turns that have to be recovered go first.
    priority: { priorityKey: 5 },
    summary,
  });
}

/** The workflow function registered as `batchJob`. */
export async function batchJob(input: JobInput): Promise<JobProgress> {
  const state = new JobState(input);
  setHandler(pauseSignal, () => void (state.isPaused = true));
  setHandler(resumeSignal, () => void (state.isPaused = false));
  setHandler(jobProgressQuery, () => state.progress);
  if (!state.isCounted) {
    const { batchLimit: limit } = state;
    state.open(await step(`count ${JOBS[input.name].unit}`).openJob({ name: input.name, limit }));
  }
  for (let numBatches = 0; state.range !== null; numBatches += 1) {
    setCurrentDetails(detailsOf(state.progress));
    await condition(() => !state.isPaused);
    if (numBatches >= input.batchesPerRun || workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof batchJob>({ ...input, carried: state.carried });
    await runBatch(input, state, state.range);
  }
  state.end();
  setCurrentDetails(detailsOf(state.progress));
  return state.progress;
}

async function runBatch(
  { name }: JobInput,
  state: JobState,
  range: NonNullable<JobState['range']>,
): Promise<void> {
  const { unit } = JOBS[name];
  const startedAt = Date.now();
  state.beginBatch();
  const result = await step(`${range.count} ${unit}`).runJobBatch({
    name,
    range,
    nextLimit: state.batchLimit,
  });
  const restMs = state.endBatch(range, result, Date.now() - startedAt);
  if (restMs > 0) await sleep(restMs, { summary: `at most ${state.progress.maxRate} ${unit}/s` });
}

/** What Temporal's UI shows of a running job. */
function detailsOf({ name, state, done, total, rate, skipped }: JobProgress): string {
  const skippedWords = skipped > 0 ? `, ${skipped} skipped` : '';
  return `${state}: ${done} of ${total} ${JOBS[name].unit}, ${rate}/s${skippedWords}`;
}
