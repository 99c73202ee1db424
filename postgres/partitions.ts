// Month partitions of `turns`, made ahead of time.
import { PARTITION_MONTHS_AHEAD } from './migrate.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

/** Makes what is missing of the months ahead; returns how many were made. */
export async function createTurnPartitions(db: Db): Promise<number> {
  const made = await row<{ made: number }>(db, 'select create_turn_partitions(now(), $1) as made', [
    PARTITION_MONTHS_AHEAD,
  ]);
  return made?.made ?? 0;
}
