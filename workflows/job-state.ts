// Where a batch job stands: what is done, how fast it goes, and how long it has to rest to keep to its rate. Pure, so that
// it replays; time comes in by argument.
import { JOBS } from '../contracts/batch-jobs.ts';
import type {
  CarriedJob,
  JobBatchResult,
  JobInput,
  JobProgress,
  JobRange,
  OpenedJob,
} from '../contracts/batch-jobs.ts';

/** A batch is this much of the rate, so that the load is even and a pause comes soon. */
const BATCH_SECONDS = 2;
/** Batches over which the rate is told. */
const MEASURED_BATCHES = 10;
/** A shorter rest is put on top of the next one: a timer costs more than it saves. */
const SHORTEST_REST_MS = 50;

const NOTHING: CarriedJob = {
  isPaused: false,
  done: 0,
  total: 0,
  skipped: 0,
  lastId: null,
  range: null,
};

export class JobState {
  readonly #input: JobInput;
  #job: CarriedJob;
  #isCounted: boolean;
  #isBusy = false;
  #isEnded = false;
  /** How far ahead of its rate the job is. */
  #aheadMs = 0;
  /** Of the last batches, their rests with them. */
  #measured: readonly { readonly count: number; readonly ms: number }[] = [];

  constructor(input: JobInput) {
    this.#input = input;
    this.#job = input.carried ?? NOTHING;
    this.#isCounted = input.carried !== undefined;
  }

  get isPaused(): boolean {
    return this.#job.isPaused;
  }

  set isPaused(isPaused: boolean) {
    this.#job = { ...this.#job, isPaused };
  }

  /** The next batch; null when all is done. */
  get range(): JobRange | null {
    return this.#job.range;
  }

  /** What the next run of the workflow begins with. */
  get carried(): CarriedJob {
    return this.#job;
  }

  get isCounted(): boolean {
    return this.#isCounted;
  }

  /** Items of a batch. */
  get batchLimit(): number {
    const { maxBatch } = JOBS[this.#input.name];
    return Math.min(Math.max(1, Math.round(this.#input.rate * BATCH_SECONDS)), maxBatch);
  }

  open({ total, first }: OpenedJob): void {
    this.#job = { ...this.#job, total, range: first };
    this.#isCounted = true;
  }

  beginBatch(): void {
    this.#isBusy = true;
  }

  /**
   * The batch is done.
   * @param tookMs since it began
   * @returns how long to rest now, in ms; 0 = not at all
   */
  endBatch(range: JobRange, { skipped, next }: JobBatchResult, tookMs: number): number {
    this.#isBusy = false;
    const done = this.#job.done + range.count;
    this.#job = {
      ...this.#job,
      done,
      total: Math.max(this.#job.total, done),
      skipped: this.#job.skipped + skipped,
      lastId: range.through,
      range: next,
    };
    const dueMs = (range.count / this.#input.rate) * 1000;
    // What is late is not caught up with: a burst is what turns would feel.
    this.#aheadMs = Math.max(0, this.#aheadMs + dueMs - tookMs);
    this.#measured = [...this.#measured, { count: range.count, ms: Math.max(dueMs, tookMs) }].slice(
      -MEASURED_BATCHES,
    );
    if (next === null || this.#aheadMs < SHORTEST_REST_MS) return 0;
    const restMs = Math.round(this.#aheadMs);
    this.#aheadMs = 0;
    return restMs;
  }

  /** There is no more; what was counted and has gone since is no part of it. */
  end(): void {
    this.#isEnded = true;
    this.#job = { ...this.#job, total: this.#job.done };
  }

  get progress(): JobProgress {
    const { done, total, skipped, lastId } = this.#job;
    const ms = sum(this.#measured.map((each) => each.ms));
    const count = sum(this.#measured.map((each) => each.count));
    return {
      name: this.#input.name,
      state: this.#state,
      done,
      total,
      skipped,
      rate: ms === 0 ? 0 : Math.round((count / ms) * 10_000) / 10,
      maxRate: this.#input.rate,
      lastId,
    };
  }

  get #state(): JobProgress['state'] {
    if (this.#isEnded) return 'ended';
    if (this.#job.isPaused) return this.#isBusy ? 'pausing' : 'paused';
    return this.#isCounted ? 'running' : 'counting';
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0);
}
