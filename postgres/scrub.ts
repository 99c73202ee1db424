// What PostgreSQL's files keep of deleted rows: dead rows until they are vacuumed, bytes in half-empty pages until those are
// written anew, and the write-ahead log until its segments are.
import { Client } from 'pg';
import { rows } from './pool.ts';

/**
 * `gentle` vacuums beside running work: rows cannot be read any more, their bytes may stay in free space. `complete` writes
 * the tables anew and drops the log's old segments; it locks each table for a moment and needs a superuser. For proofs.
 */
export type ScrubDepth = 'gentle' | 'complete';

/** @param ownerUrl for the role that owns the tables. @returns tables that were vacuumed */
export async function scrubDatabase(
  ownerUrl: string,
  depth: ScrubDepth,
  onTable: (table: string) => void = () => undefined,
): Promise<number> {
  const client = new Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const tables = await rows<{ name: string }>(client, TABLES);
    // Work of the background waits for the foreground's.
    if (depth === 'gentle') await client.query('set vacuum_cost_delay = 2');
    for (const { name } of tables) {
      await client.query(`vacuum (${depth === 'complete' ? 'full' : 'index_cleanup on'}) ${name}`);
      onTable(name);
    }
    if (depth === 'complete') await dropOldLog(client);
    return tables.length;
  } finally {
    await client.end();
  }
}

// Quoted by the server. Months on their own: a parent has no rows.
const TABLES = `
  select format('%I.%I', nspname, relname) as name from pg_class c join pg_namespace n on n.oid = relnamespace
  where relkind = 'r' and (nspname = current_schema() or (nspname = 'pg_catalog' and relname = 'pg_statistic' and
    has_table_privilege(c.oid, 'maintain')))
  order by 1`;

/** Segments are kept for reuse with what is in them; not while this is off. Two checkpoints: the first one's own record needs one. */
async function dropOldLog(client: Client): Promise<void> {
  await client.query('alter system set wal_recycle = off');
  try {
    await client.query('select pg_reload_conf()');
    for (let times = 0; times < 2; times += 1) {
      await client.query('select pg_switch_wal()');
      await client.query('checkpoint');
    }
  } finally {
    await client.query('alter system reset wal_recycle');
    await client.query('select pg_reload_conf()');
  }
}
