// Holds what a running system asks of its store at a chosen point, so that a kill falls exactly there.
import type { Pool } from 'pg';
import { waitFor } from './wait-for.ts';

export interface StoreHold {
  /** Lets everything go on. Fine after the server has died. */
  release(): Promise<void>;
}

/** A statement of the system that contains `text` waits for what pg_stat_activity calls `event`. */
export async function isWaiting(db: Pool, event: string, text: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `select 1 from pg_stat_activity where application_name = 'colloquy' and query like $1
     and (wait_event_type = $2 or wait_event = $2)`,
    [`%${text}%`, event],
  );
  return (rowCount ?? 0) > 0;
}

/** From now on no row is added to `table`: whoever tries waits within its statement. */
export async function holdInserts(db: Pool, table: 'turns' | 'ledger'): Promise<StoreHold> {
  const client = await db.connect();
  client.on('error', () => undefined); // Its server may be killed on purpose.
  await client.query('begin');
  await client.query(`lock table ${table} in share row exclusive mode`);
  return {
    release: async () => {
      await client.query('rollback').catch(() => undefined);
      client.release(true);
    },
  };
}

/** Resolves when a statement waits in a hold of `table`. */
export async function isHeld(db: Pool, table: 'turns' | 'ledger'): Promise<void> {
  await waitFor(`an insert into ${table} waits`, () =>
    isWaiting(db, 'Lock', `insert into ${table}`),
  );
}

/**
 * From now on a commit is written and durable, and its answer is not sent: it waits for a replica that does not exist. Resolves
 * once a commit of `table` is in that state. The next server starts without.
 */
export async function holdAnswers(db: Pool, table: 'ledger'): Promise<void> {
  await db.query(`alter system set synchronous_standby_names = 'nobody'`);
  await db.query('select pg_reload_conf()');
  await waitFor('a commit waits for its replica', () =>
    isWaiting(db, 'SyncRep', `insert into ${table}`),
  );
  await db.query('alter system reset synchronous_standby_names');
}
