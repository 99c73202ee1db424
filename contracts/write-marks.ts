// What the service remembers of its newest writes, beside the database: how far a replica must be before it may answer for
// an owner. Positions and ages only; whose rows they are is not in here.
import type { UserId } from './ids.ts';

/** A place in the write-ahead log of one database. */
export interface LogPosition {
  /** Grows by one with each promotion. */
  readonly timeline: number;
  /** Bytes since the log's beginning; comparable over promotions of the same database. */
  readonly lsn: number;
}

export interface WriteMark {
  /** Every write of the owner that was acknowledged within so many ms is at or before `position`; older ones are not spoken of. */
  readonly ageMs: number;
  /** Null when nothing of that time is known to be later than any other. */
  readonly position: LogPosition | null;
}

export interface WriteMarks {
  /**
   * Remembers that an owner's rows were changed at or before `position`; null = at a position that is not known, by now.
   * @param database which one, for positions of two databases cannot be compared
   * @throws AppError STREAM_UNAVAILABLE
   */
  remember(database: string, userId: UserId, position: LogPosition | null): Promise<void>;
  /** @throws AppError STREAM_UNAVAILABLE */
  recall(database: string, userId: UserId): Promise<WriteMark>;
}
