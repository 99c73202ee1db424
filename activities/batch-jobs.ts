// The steps of every batch job: count, run a range, find the next one, over all databases in turn. What an item is and what
// is done to it is each job's own (job-*.ts).
import { Context } from '@temporalio/activity';
import type {
  JobBatchInput,
  JobBatchResult,
  JobName,
  JobRange,
  OpenedJob,
} from '../contracts/batch-jobs.ts';
import type { Pool } from '../postgres/pool.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';

/** Says that the batch is alive, and where. @throws CancelledFailure when it is to end here */
export type Beat = (place?: string) => void;

/** One kind of job on one database. Places are in the order in which its items are visited. */
export interface JobWork {
  /** Items with work left. */
  count(db: Pool, beat: Beat): Promise<number>;
  /** The next items with work left, at most `limit`; null when there are none behind `after`. */
  next(
    db: Pool,
    after: string | null,
    limit: number,
    beat: Beat,
  ): Promise<Pick<JobRange, 'through' | 'count'> | null>;
  /**
   * Does what is left of a range. A repeat finds what is done and changes nothing.
   * @returns how many items could not be done
   */
  run(db: Pool, range: Pick<JobRange, 'after' | 'through'>, beat: Beat): Promise<number>;
}

export interface JobDeps {
  readonly stores: Pick<Stores, 'primaries'>;
  readonly logger: Logger;
  readonly works: Readonly<Record<JobName, JobWork>>;
}

export function createJobActivities({ stores, logger, works }: JobDeps) {
  /** The next range at or behind a place; databases are visited in their order. */
  const find = async (
    work: JobWork,
    from: { readonly database: number; readonly after: string | null },
    limit: number,
    beat: Beat,
  ): Promise<JobRange | null> => {
    let { after } = from;
    for (const [database, db] of stores.primaries.entries()) {
      if (database < from.database) continue;
      const found = await work.next(db, after, limit, beat);
      if (found !== null) return { database, after, ...found };
      after = null;
    }
    return null;
  };

  const openJob = async ({
    name,
    limit,
  }: {
    readonly name: JobName;
    readonly limit: number;
  }): Promise<OpenedJob> => {
    const [work, beat] = [works[name], beatOf(Context.current())];
    let total = 0;
    for (const db of stores.primaries) total += await work.count(db, beat);
    const first = await find(work, { database: 0, after: null }, limit, beat);
    logger.info({ job: name, total }, 'a batch job was opened');
    return { total, first };
  };

  const runJobBatch = async (input: JobBatchInput): Promise<JobBatchResult> => {
    const { name, range, nextLimit } = input;
    const [work, beat] = [works[name], beatOf(Context.current())];
    const db = stores.primaries[range.database];
    // A database that was taken out of the set has nothing to do here; its owners are elsewhere, for the next run.
    const skipped = db === undefined ? 0 : await work.run(db, range, beat);
    const place = { database: range.database, after: range.through };
    return { skipped, next: await find(work, place, nextLimit, beat) };
  };

  return translateFailures({ openJob, runJobBatch }, logger);
}

function beatOf(context: Context): Beat {
  context.heartbeat();
  return (place) => {
    context.heartbeat(place);
    context.cancellationSignal.throwIfAborted();
  };
}
