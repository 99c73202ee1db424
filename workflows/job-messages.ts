// Signals and query of a batch job, imported by the workflow and by its clients.
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { JobProgress } from '../contracts/batch-jobs.ts';

/** Rest after the batch that is under way. Repeats do nothing. */
export const pauseSignal = defineSignal('pause');
export const resumeSignal = defineSignal('resume');
export const jobProgressQuery = defineQuery<JobProgress>('progress');
