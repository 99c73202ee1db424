// How the shards stand, for operators.
import { Client } from 'pg';
import { row } from './pool.ts';
import type { Db } from './pool.ts';
import { readMap, readMoves } from './shard-map-rows.ts';
import type { SlotMove } from './shard-map-rows.ts';

export interface ShardReport {
  /** Shard of each slot by the map. */
  readonly shards: readonly number[];
  readonly moves: readonly SlotMove[];
  /** By shard. */
  readonly databases: readonly {
    /** Slots that it says it serves. */
    readonly numOwned: number;
    /** Tables whose rows it guards; 0 where there is one database. */
    readonly numGuarded: number;
    /** How much of the directory's log it has not taken over yet; null for the directory itself. */
    readonly retainedBytes: number | null;
  }[];
}

/** @param urls databases by shard */
export async function readShards(urls: readonly string[]): Promise<ShardReport> {
  const clients = urls.map((connectionString) => new Client({ connectionString }));
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const [directory] = clients;
    if (directory === undefined) return { shards: [], moves: [], databases: [] };
    return {
      shards: (await readMap(directory)).shards,
      moves: await readMoves(directory),
      databases: await Promise.all(
        clients.map(async (client, shard) => ({
          ...(await stateOf(client)),
          retainedBytes: shard === 0 ? null : await retainedBytes(directory, shard),
        })),
      ),
    };
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

async function stateOf(db: Db): Promise<{ numOwned: number; numGuarded: number }> {
  const found = await row<{ owned: number; guarded: number }>(
    db,
    `select (select count(*) from shard_slots where state in ('owned', 'copied')) as owned,
       (select count(*) from pg_trigger where tgname = 'guard_slot' and tgparentid = 0) as guarded`,
  );
  return { numOwned: found?.owned ?? 0, numGuarded: found?.guarded ?? 0 };
}

async function retainedBytes(directory: Db, shard: number): Promise<number> {
  const found = await row<{ bytes: number }>(
    directory,
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint as bytes
     from pg_replication_slots where database = current_database() and slot_name like '%_shard_' || $1`,
    [shard],
  );
  return found?.bytes ?? 0;
}
