// Batch jobs on real Temporal and PostgreSQL: one database, background workers on demand. The queue and the jobs' names
// are the real ones, so test files that use it must not run at the same time.
import { randomUUID } from 'node:crypto';
import type { NativeConnection } from '@temporalio/worker';
import { createJobActivities } from '../../activities/batch-jobs.ts';
import type { JobDeps } from '../../activities/batch-jobs.ts';
import { JOB_NAMES } from '../../contracts/batch-jobs.ts';
import type { JobName, JobProgress } from '../../contracts/batch-jobs.ts';
import { BACKGROUND_TASK_QUEUE } from '../../contracts/turn-workflow.ts';
import { singleStore } from '../../postgres/stores.ts';
import { createLogger } from '../../process/logger.ts';
import { connectTemporal, createWorker, installTemporalRuntime } from '../../process/temporal.ts';
import { connectJobs } from '../../runtime/jobs.ts';
import type { Jobs } from '../../runtime/jobs.ts';
import { createJobDatabase } from './job-database.ts';
import type { JobDatabase } from './job-database.ts';
import { services } from './services.ts';
import { waitFor } from './wait-for.ts';

export interface JobHarness extends JobDatabase {
  readonly jobs: Jobs;
  readonly temporal: NativeConnection;
  /** Runs jobs until the returned function is called. */
  startWorker(works: JobDeps['works'], primaries?: JobDeps['stores']): Promise<() => Promise<void>>;
  /** Resolves when the job's progress is so; null when nobody answers. */
  until(
    what: string,
    name: JobName,
    isSo: (progress: JobProgress) => boolean,
    timeoutMs?: number,
  ): Promise<JobProgress>;
}

export async function startJobHarness(): Promise<JobHarness> {
  const { temporalAddress, workflowBundlePath } = services();
  const database = await createJobDatabase();
  const logger = createLogger('test', { logLevel: 'fatal', processName: '' });
  const settings = {
    address: temporalAddress,
    namespace: 'default',
    workflowBundle: workflowBundlePath,
    stackTraces: false,
  };
  installTemporalRuntime(logger);
  const temporal = await connectTemporal(settings);
  const jobs = await connectJobs(temporalAddress, settings.namespace);
  return {
    ...database,
    jobs,
    temporal,
    startWorker: async (works, stores = singleStore(database.db)) => {
      const worker = await createWorker(temporal, settings, {
        taskQueue: BACKGROUND_TASK_QUEUE,
        activities: createJobActivities({ stores, logger, works }),
        hasWorkflows: true,
        maxConcurrentActivities: 10,
        identity: randomUUID(),
        graceMs: 0,
      });
      const running = worker.run();
      return async () => {
        worker.shutdown();
        await running;
      };
    },
    until: (what, name, isSo, timeoutMs) =>
      waitFor(
        what,
        async () => {
          const { progress } = await jobs.progress(name);
          return progress !== null && isSo(progress) ? progress : null;
        },
        timeoutMs,
      ),
    close: async () => {
      for (const { name, status } of await jobs.list())
        if (status === 'running') await jobs.cancel(name);
      await jobs.close();
      await temporal.close();
      await database.close();
    },
  };
}

/** The works of a test that looks at one job. */
export function onlyWork(name: JobName, work: JobDeps['works'][JobName]): JobDeps['works'] {
  const none: JobDeps['works'][JobName] = {
    count: () => Promise.resolve(0),
    next: () => Promise.resolve(null),
    run: () => Promise.resolve(0),
  };
  const works = Object.fromEntries(JOB_NAMES.map((each) => [each, each === name ? work : none]));
  return works as unknown as JobDeps['works'];
}
