// Batch jobs as an operator steers them: `npm run jobs`. Talks to Temporal only, wherever the background worker runs.
import type {
  Client,
  WorkflowExecutionAlreadyStartedError,
  WorkflowExecutionDescription,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { JOB_NAMES, JOB_WORKFLOW, JOBS, jobWorkflowId } from '../contracts/batch-jobs.ts';
import type { JobInput, JobName, JobProgress } from '../contracts/batch-jobs.ts';
import { BACKGROUND_TASK_QUEUE } from '../contracts/turn-workflow.ts';
import { homeFolder } from './home-folder.ts';
import { readEndpoints, runFiles } from './run-files.ts';

/** A few thousand events of history. */
const BATCHES_PER_RUN = 250;
const CALL_TIMEOUT_MS = 10_000;

export interface JobStatus {
  readonly name: JobName;
  /** `never`: Temporal knows no run of it any more; else its last run. */
  readonly status: 'never' | 'running' | 'completed' | 'failed' | 'canceled' | 'terminated';
  /** Null when there was no run, or no background worker answers. */
  readonly progress: JobProgress | null;
  /** What keeps a running job from going on: nobody answers, or its batch is tried again and again. */
  readonly note: string | null;
}

export interface Jobs {
  list(): Promise<JobStatus[]>;
  /** @param rate items a second; null = the job's own. @throws Error in one line when it runs already */
  start(name: JobName, rate: number | null): Promise<void>;
  progress(name: JobName): Promise<JobStatus>;
  /** The others: @throws Error in one line when it does not run */
  pause(name: JobName): Promise<void>;
  resume(name: JobName): Promise<void>;
  cancel(name: JobName): Promise<void>;
  close(): Promise<void>;
}

/**
 * Where Temporal is: TEMPORAL_ADDRESS, else what runs in COLLOQUY_HOME.
 * @throws Error in one line when nothing says so
 */
export function temporalAddress(
  home: string,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const given = env['TEMPORAL_ADDRESS'] ?? '';
  if (given !== '') return given;
  const endpoints = readEndpoints(runFiles(homeFolder(home).run).endpoints);
  if (endpoints === null)
    throw new Error(`Colloquy does not run in ${home}, and TEMPORAL_ADDRESS is not set.`);
  return endpoints.temporal;
}

/** @throws Error in one line for a name that is no job's */
export function jobNamed(name: string | undefined): JobName {
  const found = JOB_NAMES.find((each) => each === name);
  if (found === undefined)
    throw new Error(`There is no job "${name ?? ''}"; there are ${JOB_NAMES.join(', ')}.`);
  return found;
}

/** @throws Error in one line unless it is a number of items a second above 0 */
export function rateFrom(text: string | undefined): number | null {
  if (text === undefined) return null;
  const rate = Number(text);
  if (text.trim() === '' || !Number.isFinite(rate) || rate <= 0 || rate > 1_000_000)
    throw new Error(`--rate takes items a second, above 0; received "${text}".`);
  return rate;
}

export async function connectJobs(address: string, namespace: string): Promise<Jobs> {
  // Loaded late: it costs a third of a second, and a wrong name needs none of it.
  const client = await import('@temporalio/client');
  const connection = await client.Connection.connect({
    address,
    connectTimeout: CALL_TIMEOUT_MS,
  }).catch((error: unknown) => {
    throw new Error(`Temporal does not answer at ${address}.`, { cause: error });
  });
  const jobs = createJobs(new client.Client({ connection, namespace }), client);
  return { ...jobs, close: () => connection.close() };
}

interface Errors {
  readonly WorkflowNotFoundError: typeof WorkflowNotFoundError;
  readonly WorkflowExecutionAlreadyStartedError: typeof WorkflowExecutionAlreadyStartedError;
}

function createJobs(client: Client, errors: Errors): Omit<Jobs, 'close'> {
  const handleOf = (name: JobName) =>
    client.workflow.getHandle<() => Promise<JobProgress>>(jobWorkflowId(name));
  const call = <Result>(work: () => Promise<Result>): Promise<Result> =>
    client.withDeadline(Date.now() + CALL_TIMEOUT_MS, work);
  const steer = (name: JobName, work: () => Promise<unknown>): Promise<void> =>
    call(work).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof errors.WorkflowNotFoundError)
          throw new Error(`Job ${name} does not run.`, { cause: error });
        throw error;
      },
    );

  const progress = async (name: JobName): Promise<JobStatus> => {
    const handle = handleOf(name);
    const described = await call(() => handle.describe()).catch((error: unknown) => {
      if (error instanceof errors.WorkflowNotFoundError) return null;
      throw error;
    });
    if (described === null) return { name, status: 'never', progress: null, note: null };
    const status = statusOf(described);
    try {
      // Of a run that ended well the result says it without a worker's help.
      const told = await call(() =>
        status === 'completed' ? handle.result() : handle.query<JobProgress>('progress'),
      );
      return { name, status, progress: told, note: troubleOf(described) };
    } catch {
      return { name, status, progress: null, note: 'no background worker answers' };
    }
  };

  return {
    progress,
    list: () => Promise.all(JOB_NAMES.map(progress)),
    start: async (name, rate) => {
      const input: JobInput = {
        name,
        rate: rate ?? JOBS[name].rate,
        batchesPerRun: BATCHES_PER_RUN,
      };
      await call(() =>
        client.workflow.start(JOB_WORKFLOW, {
          taskQueue: BACKGROUND_TASK_QUEUE,
          workflowId: jobWorkflowId(name),
          args: [input],
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          workflowIdConflictPolicy: 'FAIL',
          staticSummary: `${name}: ${JOBS[name].unit}, at most ${input.rate}/s`,
          priority: { priorityKey: 5 },
        }),
      ).catch((error: unknown) => {
        if (error instanceof errors.WorkflowExecutionAlreadyStartedError)
          throw new Error(`Job ${name} runs already.`, { cause: error });
        throw error;
      });
    },
    pause: (name) => steer(name, () => handleOf(name).signal('pause')),
    resume: (name) => steer(name, () => handleOf(name).signal('resume')),
    cancel: (name) => steer(name, () => handleOf(name).cancel()),
  };
}

function statusOf({ status }: WorkflowExecutionDescription): JobStatus['status'] {
  switch (status.name) {
    case 'RUNNING':
      return 'running';
    case 'COMPLETED':
      return 'completed';
    case 'CANCELLED':
      return 'canceled';
    case 'TERMINATED':
      return 'terminated';
    default:
      return 'failed';
  }
}

/** A batch that fails is tried again without end: with which error code, and how often. */
function troubleOf({ raw }: WorkflowExecutionDescription): string | null {
  const [pending] = raw.pendingActivities ?? [];
  if (pending === undefined || (pending.attempt ?? 1) < 2) return null;
  const code = pending.lastFailure?.applicationFailureInfo?.type ?? 'its worker fell silent';
  return `attempt ${pending.attempt} of a batch: ${code}`;
}
