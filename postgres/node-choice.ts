// Which node is the primary and which may answer a read. Pure decisions over what was seen of the nodes.
import type { WriteMark } from '../contracts/write-marks.ts';
import type { TimedView } from './node-watch.ts';

/**
 * The primary among the nodes: not in recovery, and of the highest timeline, so that an old primary that comes back is none.
 * @param lowestTimeline the highest one that was ever seen: a primary below it has been replaced
 * @returns its index, or -1
 */
export function primaryAmong(
  views: readonly (TimedView | null)[],
  systemId: string | null,
  lowestTimeline: number,
): number {
  let best = -1;
  views.forEach((view, index) => {
    if (view === null || view.isStandby || view.position.timeline < lowestTimeline) return;
    if (systemId !== null && view.systemId !== systemId) return;
    if (view.position.timeline > (views[best]?.position.timeline ?? 0)) best = index;
  });
  return best;
}

/** What a replica is measured against. */
export interface KnownStore {
  readonly systemId: string | null;
  /** Highest timeline that was ever seen. */
  readonly timeline: number;
  /** The primary answered the newest look. */
  readonly hasPrimary: boolean;
  /** Furthest position that any replica that answers has received. */
  readonly furthestLsn: number;
  /** The time, in ms of performance.now(), up to which everything acknowledged is at or before a position; null = unknown. */
  readonly asOf: (lsn: number) => number | null;
}

/** A read's demand: everything that was acknowledged before `at`. */
export interface ReadNeed {
  /** Null when nothing is known of what was written: then only the primary will do, while there is one. */
  readonly mark: WriteMark | null;
  /** When the mark had been read, in ms of performance.now(). */
  readonly at: number;
  /** A replica that is further behind is left alone. */
  readonly maxLagMs: number;
}

/**
 * Whether a replica has everything that a read demands.
 *
 *   ─────── born ─── covered by the mark ─── at     What was acknowledged before the mark was born is told by time: a replica
 *             ▲                                     that is as of then, or later, has it. What came after is told by position.
 *             asOf(position) must not be before it
 *
 * Without a primary nothing is known of the time. Then a replica that has applied all that any of them had received when
 * they were asked, after `at`, has everything: one of them had to receive what was acknowledged (synchronous replication).
 */
export function mayRead(replica: TimedView, known: KnownStore, need: ReadNeed): boolean {
  const { mark, at, maxLagMs } = need;
  const { timeline, lsn } = replica.position;
  if (!replica.isStandby || replica.systemId !== known.systemId || timeline !== known.timeline)
    return false;
  const marked = mark?.position ?? null;
  if (marked !== null && (marked.timeline > timeline || marked.lsn > lsn)) return false;
  if (!known.hasPrimary) return replica.askedAt >= at && lsn >= known.furthestLsn;
  if (mark === null || !replica.isStreaming) return false;
  const asOf = known.asOf(lsn);
  return asOf !== null && asOf >= at - Math.min(mark.ageMs, maxLagMs);
}
