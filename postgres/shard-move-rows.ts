// A move's own rows: its record in the directory, the states of its slot on both shards, the changes noted meanwhile.
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';
import type { SlotMove } from './shard-map-rows.ts';

/** One mover at a time for a slot, for as long as its session lives. */
export async function lockMove(directory: Db, slot: number): Promise<boolean> {
  const locked = await row<{ locked: boolean }>(
    directory,
    'select pg_try_advisory_lock(7062, $1) as locked',
    [slot],
  );
  return locked?.locked ?? false;
}

export async function insertMove(
  directory: Db,
  slot: number,
  source: number,
  target: number,
): Promise<void> {
  await rows(directory, 'insert into slot_moves (slot, source, target) values ($1, $2, $3)', [
    slot,
    source,
    target,
  ]);
}

export async function deleteMove(directory: Db, { slot, moveId }: SlotMove): Promise<void> {
  await rows(directory, 'delete from slot_moves where slot = $1 and move_id = $2', [slot, moveId]);
}

/** The target makes room. False when it says that it serves the slot already. */
export async function expectSlot(target: Db, { slot, moveId }: SlotMove): Promise<boolean> {
  const expected = await row(
    target,
    `insert into shard_slots (slot, state, move_id) values ($1, 'incoming', $2)
     on conflict (slot) do update set state = 'incoming', move_id = $2 where shard_slots.state = 'incoming'
     returning slot`,
    [slot, moveId],
  );
  return expected !== null;
}

/** Waits until every transaction that holds the slot has ended, and keeps others out until this one does. */
export async function lockSlot(source: Db, slot: number): Promise<void> {
  await rows(source, 'select pg_advisory_xact_lock(7061, $1)', [slot]);
}

/** From now on each change of the slot's rows is noted. Under lockSlot(). False when it is not served here. */
export async function noteChanges(source: Db, { slot, moveId }: SlotMove): Promise<boolean> {
  const noted = await row(
    source,
    `with forgotten as (delete from slot_changes where slot = $1)
     update shard_slots set state = 'copied', move_id = $2
     where slot = $1 and state in ('owned', 'copied') returning slot`,
    [slot, moveId],
  );
  return noted !== null;
}

export interface SlotChange {
  readonly changeId: number;
  readonly table: string;
  /** The row's key as JSON text. */
  readonly key: string;
}

/** The oldest changes. */
export async function readChanges(source: Db, slot: number, limit: number): Promise<SlotChange[]> {
  const found = await rows<{ change_id: number; table_name: string; key: string }>(
    source,
    `select change_id, table_name, key::text as key from slot_changes where slot = $1
     order by change_id limit $2`,
    [slot, limit],
  );
  return found.map((each) => ({ changeId: each.change_id, table: each.table_name, key: each.key }));
}

/** Forgets exactly these: one with a smaller number may be committed later. */
export async function forgetChanges(source: Db, changeIds: readonly number[]): Promise<void> {
  await rows(source, 'delete from slot_changes where change_id = any($1::bigint[])', [changeIds]);
}

/** Gives the slot away for good. Under lockSlot(), with no change left. False when one is, or the move is not this one's. */
export async function leave(source: Db, { slot, moveId }: SlotMove): Promise<boolean> {
  const left = await row(
    source,
    `update shard_slots set state = 'left' where slot = $1 and move_id = $2 and state = 'copied'
       and not exists (select from slot_changes where slot = $1) returning slot`,
    [slot, moveId],
  );
  return left !== null;
}

/** The slot stays where it is. Under lockSlot(). */
export async function stay(source: Db, { slot, moveId }: SlotMove): Promise<void> {
  await rows(
    source,
    `with forgotten as (delete from slot_changes where slot = $1)
     update shard_slots set state = 'owned', move_id = null where slot = $1 and move_id = $2 and state = 'copied'`,
    [slot, moveId],
  );
}

/** Nothing of the move is left on this shard. */
export async function forgetSlot(db: Db, { slot, moveId }: SlotMove): Promise<void> {
  await rows(
    db,
    `delete from shard_slots where slot = $1 and move_id = $2 and state in ('left', 'incoming')`,
    [slot, moveId],
  );
}

/** This session's writes pass the guard of the move's slot until its transaction ends. */
export async function actAsMove(db: Db, { moveId }: SlotMove): Promise<void> {
  await rows(db, `select set_config('colloquy.move', $1, true)`, [moveId]);
}
