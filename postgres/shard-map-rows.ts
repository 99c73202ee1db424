// The shard map and the moves under way, as rows; and the steps with which a move ends.
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

export interface MapRows {
  /** Shard of each slot. */
  readonly shards: readonly number[];
  /** Slots that moved within MOVED_LATELY_SECONDS: what is known of their positions in a log may be another database's. */
  readonly movedLately: readonly number[];
  /** Moves whose slot is served by the source, or for a moment by nobody. */
  readonly moves: readonly SlotMove[];
}

export interface SlotMove {
  readonly slot: number;
  readonly moveId: string;
  readonly source: number;
  readonly target: number;
  /** The target serves; the source's copies are left to delete. */
  readonly isSwitched: boolean;
}

/** Longer than any replica may lag. */
const MOVED_LATELY_SECONDS = 120;

/** The whole map in one statement. @param directory shard 0 */
export async function readMap(directory: Db): Promise<MapRows> {
  const found = await row<{ shards: number[]; lately: number[] | null; moves: MoveRow[] | null }>(
    directory,
    `select array_agg(shard order by slot) as shards,
       array_agg(slot) filter (where moved_at > now() - make_interval(secs => $1)) as lately,
       (select json_agg(m) from slot_moves m where switched_at is null) as moves
     from shard_map`,
    [MOVED_LATELY_SECONDS],
  );
  return {
    shards: found?.shards ?? [],
    movedLately: found?.lately ?? [],
    moves: (found?.moves ?? []).map(toMove),
  };
}

/** Every move that has not been cleaned up after, by slot. */
export async function readMoves(directory: Db): Promise<SlotMove[]> {
  const found = await rows<MoveRow>(
    directory,
    'select slot, move_id, source, target, switched_at from slot_moves order by slot',
  );
  return found.map(toMove);
}

/** Whether the database serves the slot now. */
export async function servesSlot(db: Db, slot: number): Promise<boolean> {
  const found = await row(
    db,
    `select 1 from shard_slots where slot = $1 and state in ('owned', 'copied')`,
    [slot],
  );
  return found !== null;
}

/** Whether the source has given the slot away for good. */
export async function hasLeft(source: Db, { slot, moveId }: SlotMove): Promise<boolean> {
  const found = await row(
    source,
    `select 1 from shard_slots where slot = $1 and move_id = $2 and state = 'left'`,
    [slot, moveId],
  );
  return found !== null;
}

/** The target serves the slot from now on. Only after hasLeft(). */
export async function arrive(target: Db, { slot, moveId }: SlotMove): Promise<void> {
  await rows(target, 'select slot_arrived($1, $2)', [slot, moveId]);
}

/** The map names the target from now on. Only after arrive(). */
export async function switchMap(directory: Db, { slot, moveId }: SlotMove): Promise<void> {
  await rows(directory, 'select slot_switched($1, $2)', [slot, moveId]);
}

interface MoveRow {
  slot: number;
  move_id: string;
  source: number;
  target: number;
  switched_at: Date | string | null;
}

function toMove(each: MoveRow): SlotMove {
  return {
    slot: each.slot,
    moveId: each.move_id,
    source: each.source,
    target: each.target,
    isSwitched: each.switched_at !== null,
  };
}
