// One look at one node of a replicated database: which role it has and how far it is.
import type { LogPosition } from '../contracts/write-marks.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

export interface NodeView {
  /** The same on all nodes of one database, and on no node of another one. */
  readonly systemId: string;
  readonly isStandby: boolean;
  /** Receives the primary's log right now; false on a primary. */
  readonly isStreaming: boolean;
  /** Primary: everything acknowledged is at or before it. Standby: everything at or before it can be read there. */
  readonly position: LogPosition;
  /** Standby: the end of what it has received, `position` or later. */
  readonly receivedLsn: number;
}

/**
 * @param last an earlier look over the same connection: it spares the server its control file, which is locked for as long as a
 *   checkpoint or a promotion takes to reach the disk
 * @throws AppError STORAGE_UNAVAILABLE
 */
export async function lookAtNode(db: Db, last: NodeView | null = null): Promise<NodeView> {
  const known =
    last === null ? await row<{ system_id: string; timeline: number }>(db, CONTROL) : null;
  const seen = await row<{
    is_standby: boolean;
    is_streaming: boolean;
    timeline: number | null;
    lsn: number;
    received_lsn: number;
  }>(db, LOOK);
  const systemId = last?.systemId ?? known?.system_id;
  const timeline = seen?.timeline ?? last?.position.timeline ?? known?.timeline;
  if (seen === null || systemId === undefined || timeline === undefined)
    throw new Error('a look without an answer');
  return {
    systemId,
    isStandby: seen.is_standby,
    isStreaming: seen.is_streaming,
    position: { timeline, lsn: seen.lsn },
    receivedLsn: seen.received_lsn,
  };
}

// A standby that receives nothing is on the timeline of its last restart point, or on a later one that it was seen on.
const CONTROL = `
  select s.system_identifier::text as system_id, c.timeline_id as timeline
  from pg_control_system() s, pg_control_checkpoint() c`;

// A commit is acknowledged when it is flushed, so a primary is as far as its flushed log.
const LOOK = `
  select r.is_standby,
    exists (select from pg_stat_wal_receiver where status = 'streaming') as is_streaming,
    case when r.is_standby then (select received_tli from pg_stat_wal_receiver)
      else ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::integer end as timeline,
    case when r.is_standby then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_flush_lsn() end
      - '0/0'::pg_lsn as lsn,
    case when r.is_standby then coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')
      else pg_current_wal_flush_lsn() end - '0/0'::pg_lsn as received_lsn
  from (select pg_is_in_recovery() as is_standby) r`;
