// The first division of the slots.
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

/** Slots of which this shard says anything. */
export async function ownedSlots(db: Db): Promise<number[]> {
  const found = await rows<{ slot: number }>(db, 'select slot from shard_slots');
  return found.map(({ slot }) => slot);
}

/** No owner has a row and the map has never changed: slots may go anywhere. */
export async function isUnused(directory: Db): Promise<boolean> {
  const found = await row<{ unused: boolean }>(
    directory,
    `select not exists (select from conversations) and not exists (select from ledger)
       and not exists (select from user_memory) and (select max(version) = 0 from shard_map) as unused`,
  );
  return found?.unused === true;
}

/** Deals the slots out in turn. */
export async function fillMap(directory: Db, numShards: number): Promise<void> {
  await rows(directory, 'update shard_map set shard = slot % $1, version = 1', [numShards]);
}

export async function ownSlots(db: Db, slots: readonly number[]): Promise<void> {
  await rows(
    db,
    `insert into shard_slots (slot, state) select unnest($1::smallint[]), 'owned' on conflict do nothing`,
    [slots],
  );
}
