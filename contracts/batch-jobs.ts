// Batch jobs: what there is to run, and what their workflows carry. Places in the data are ids or dates, never text, so a
// history holds nothing of a user. Types and constants without dependencies: workflow code imports them.

export const JOB_WORKFLOW = 'batchJob';

export const JOB_NAMES = Object.freeze(['re-embed', 'back-fill', 'statistics'] as const);
export type JobName = (typeof JOB_NAMES)[number];

export interface JobKind {
  /** What is counted, in the plural. */
  readonly unit: string;
  /** Items a second unless the operator says otherwise: a fraction of one core, so that turns do not feel it. */
  readonly rate: number;
  /** Items of one batch at most: seconds of work, for a pause waits for the end of a batch. */
  readonly maxBatch: number;
}

export const JOBS: Readonly<Record<JobName, JobKind>> = Object.freeze({
  /** Facts whose vector is absent or made by another model. */
  're-embed': { unit: 'facts', rate: 25, maxBatch: 256 },
  /** Token counts of stored turns that have none. */
  'back-fill': { unit: 'turns', rate: 500, maxBatch: 512 },
  /** `daily_statistics`, of days that are not final. */
  statistics: { unit: 'days', rate: 5, maxBatch: 16 },
});

/** One of a kind at a time: the second start is refused while the first runs. */
export function jobWorkflowId(name: JobName): string {
  return `job/${name}`;
}

/** A stretch of one database's items in the order of their places: those behind `after`, up to and with `through`. */
export interface JobRange {
  /** Index of the database among the stores' primaries. */
  readonly database: number;
  /** Null = from its first. */
  readonly after: string | null;
  readonly through: string;
  /** Items that had work left when the range was found. */
  readonly count: number;
}

export interface JobInput {
  readonly name: JobName;
  /** Items a second at most. */
  readonly rate: number;
  /** Batches after which the workflow begins a new history. */
  readonly batchesPerRun: number;
  /** Left out at the start; what the run before had come to. */
  readonly carried?: CarriedJob;
}

export interface CarriedJob {
  readonly isPaused: boolean;
  readonly done: number;
  readonly total: number;
  readonly skipped: number;
  readonly lastId: string | null;
  readonly range: JobRange | null;
}

export interface OpenedJob {
  readonly total: number;
  /** Null when there is nothing to do. */
  readonly first: JobRange | null;
}

export interface JobBatchInput {
  readonly name: JobName;
  readonly range: JobRange;
  /** Items of the range that is to be found next. */
  readonly nextLimit: number;
}

export interface JobBatchResult {
  /** Items that could not be done, and stay as they are. */
  readonly skipped: number;
  /** Null when this was the last. */
  readonly next: JobRange | null;
}

/** The `progress` query's answer, and the workflow's result. */
export interface JobProgress {
  readonly name: JobName;
  /** `pausing`: the batch that was under way goes on to its end. */
  readonly state: 'counting' | 'running' | 'pausing' | 'paused' | 'ended';
  /** Items of finished batches. */
  readonly done: number;
  /** Items that had work left when the job began, and those that came since. */
  readonly total: number;
  /** Of them, those that could not be done: a job that is started again meets them again. */
  readonly skipped: number;
  /** Items a second over the last batches; 0 before the first. */
  readonly rate: number;
  readonly maxRate: number;
  /** Place of the last item of the last finished batch. */
  readonly lastId: string | null;
}
