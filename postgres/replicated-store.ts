// One database of several nodes: writes go to its primary and are remembered, reads go to any node that has what was
// remembered. docs/decisions/0016-read-your-writes.md
import { AppError } from '../contracts/errors.ts';
import type { UserId } from '../contracts/ids.ts';
import type { LogPosition, WriteMarks } from '../contracts/write-marks.ts';
import { followingPool } from './following-pool.ts';
import type { NodeSet } from './node-set.ts';
import type { Db, Pool } from './pool.ts';
import { readableAnyway, reader } from './reader.ts';

export interface ReplicatedStoreOptions {
  readonly set: NodeSet;
  readonly marks: WriteMarks;
  /** Hears which kind of node has answered a read. */
  readonly onRead: (node: 'primary' | 'replica') => void;
}

/** A write that cannot be remembered has been refused, not acknowledged, after this long. */
const REMEMBER_MS = 1500;
const LOOK_PAUSE_MS = 50;

export class ReplicatedStore {
  /** The present primary's; its writes are not remembered: they are no owner's, or seen within the lag that is tolerated. */
  readonly pool: Pool;
  /** The same, and readable while there is no primary: for what every request has to know. */
  readonly directory: Pool;
  readonly #options: ReplicatedStoreOptions;

  constructor(options: ReplicatedStoreOptions) {
    this.#options = options;
    this.pool = followingPool(options.set);
    this.directory = readableAnyway(options.set, this.pool);
  }

  /** The present primary's, for an owner's rows: what is written is remembered before the caller hears of it. */
  writerOf(userId: UserId): Pool {
    return followingPool(this.#options.set, () => this.wrote(userId));
  }

  /** For reads that must show all that was acknowledged of an owner's rows. Needs neither the primary nor Redis. */
  async readerOf(userId: UserId): Promise<Db> {
    const { set, marks, onRead } = this.#options;
    const mark = await marks.recall(set.name, userId).catch(() => null);
    return reader(set, { mark, at: performance.now(), maxLagMs: set.maxLagMs }, onRead);
  }

  /**
   * An owner's rows were changed and committed by other means than writerOf()'s pool. Resolves when no read can miss it.
   * @throws AppError STORAGE_UNAVAILABLE when it could not be remembered: the change stands, and is not to be acknowledged
   */
  async wrote(userId: UserId): Promise<void> {
    const { set, marks } = this.#options;
    const position = await set.positionNow();
    try {
      await marks.remember(set.name, userId, position);
    } catch (error) {
      // Whoever reads may find an older mark: no node may be left that lacks the change.
      if (position === null || !(await this.#isEverywhere(position)))
        throw new AppError('STORAGE_UNAVAILABLE', { cause: error });
    }
  }

  async #isEverywhere(position: LogPosition): Promise<boolean> {
    const { set } = this.#options;
    const deadline = performance.now() + REMEMBER_MS;
    while (!set.isEverywhere(position)) {
      if (performance.now() > deadline) return false;
      await set.lookAtReplicas();
      await new Promise((resolve) => setTimeout(resolve, LOOK_PAUSE_MS));
    }
    return true;
  }
}
