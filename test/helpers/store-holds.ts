// Holds what a running system asks of its store at a chosen point, so that a kill falls exactly there.
import type { Pool } from 'pg';
import { waitFor } from './wait-for.ts';

/**
 * Nobody can add a row to `table` until `work` has resolved: whoever tries waits within its statement, and `work` begins once
 * somebody does. The server may be killed meanwhile. Begin it with what leads there: `before` runs under the hold.
 */
export async function whileHeld(
  db: Pool,
  table: 'turns' | 'ledger',
  work: () => unknown,
  before: () => unknown = () => undefined,
): Promise<void> {
  const client = await db.connect();
  client.on('error', () => undefined); // Its server may be killed on purpose.
  try {
    await client.query('begin');
    await client.query(`lock table ${table} in share row exclusive mode`);
    await before();
    await waitFor(
      `an insert into ${table} waits`,
      async () => {
        const { rowCount } = await db.query(
          'select 1 from pg_locks where relation = $1::regclass and not granted',
          [table],
        );
        return (rowCount ?? 0) > 0;
      },
      60_000,
    );
    await work();
  } finally {
    await client.query('rollback').catch(() => undefined);
    client.release(true);
  }
}

/**
 * From now on a commit is written and durable, and its answer is not sent: it waits for a replica that does not exist. Resolves
 * once the statement that ends a turn is in that state. The next server starts without.
 */
export async function holdAnswers(db: Pool): Promise<void> {
  try {
    await db.query(`alter system set synchronous_standby_names = 'nobody'`);
    await db.query('select pg_reload_conf()');
    await waitFor(
      'the commit of a turn waits for its replica',
      async () => {
        const { rowCount } = await db.query(
          `select 1 from pg_stat_activity where wait_event = 'SyncRep' and query like '%set active_turn_id%'`,
        );
        return (rowCount ?? 0) > 0;
      },
      60_000,
    );
  } finally {
    await db.query('alter system reset synchronous_standby_names');
  }
}
