// Brings a database to this version's schema: plain SQL files, forward only, under an advisory lock so that several
// processes may try at once; then sees to the partitions of the months ahead.
import { Client } from 'pg';
import { runner } from 'node-pg-migrate';

/** Months of `turns` partitions kept ready ahead of now; the schedule renews them daily. */
export const PARTITION_MONTHS_AHEAD = 4;

/**
 * @param databaseUrl a role that may create tables
 * @param folder the migrations folder
 * @throws when a migration fails; it leaves no trace, and earlier ones stay
 */
export async function migrate(databaseUrl: string, folder: string): Promise<void> {
  await runner({
    databaseUrl,
    dir: folder,
    direction: 'up',
    migrationsTable: 'schema_migrations',
    checkOrder: true,
    log: () => undefined,
  });
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // One day back: clocks differ, and a turn minted just before midnight must find its month.
    await client.query(`select create_turn_partitions(now() - interval '1 day', $1)`, [
      PARTITION_MONTHS_AHEAD,
    ]);
  } finally {
    await client.end();
  }
}
