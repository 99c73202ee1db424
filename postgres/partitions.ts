// Month partitions of `turns`: made ahead of time by any process's role (a function of the owner's does it), dropped by the
// owner alone.
import { Client } from 'pg';
import { PARTITION_MONTHS_AHEAD } from './migrate.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

/** Taking a month off waits this long for a lock, then leaves it to the next run: turns queue behind it meanwhile. */
const LOCK_TIMEOUT_MS = 2000;
/** A month that ended this long ago gets no turns any more: ids are minted by gateways, with their clocks. */
const SETTLED_DAYS = 31;
/** SQLSTATE lock_not_available. */
const LOCK_NOT_AVAILABLE = '55P03';

/** Makes what is missing of the months ahead; returns how many were made. */
export async function createTurnPartitions(db: Db): Promise<number> {
  // One day back: see migrate().
  const made = await row<{ made: number }>(
    db,
    `select create_turn_partitions(now() - interval '1 day', $1) as made`,
    [PARTITION_MONTHS_AHEAD],
  );
  return made?.made ?? 0;
}

/** Days from now for which turns have a partition. */
export async function partitionHorizonDays(db: Db): Promise<number> {
  const found = await row<{ days: number | null }>(
    db,
    `select extract(epoch from max(to_date(substr(relname, 7), 'YYYY_MM')) + interval '1 month' - now()) / 86400 as days
     from pg_inherits join pg_class on oid = inhrelid where inhparent = 'turns'::regclass`,
  );
  return found?.days ?? 0;
}

/** A month's table. */
interface Month {
  readonly name: string;
  readonly is_expired: boolean;
  /** A drop began and was cut short: it is off the parent, or half-way. */
  readonly is_detached: boolean;
  readonly is_pending: boolean;
}

/**
 * Drops months that nobody keeps any turns of: those before `horizonDays`, and old ones that are empty.
 * @param ownerUrl for the role that owns the tables
 * @param horizonDays the longest that anybody's turns are kept; null when somebody's are kept for ever
 * @returns how many were dropped
 */
export async function dropExpiredMonths(
  ownerUrl: string,
  horizonDays: number | null,
): Promise<number> {
  const client = new Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    let dropped = 0;
    for (const month of await rows<Month>(client, OLD_MONTHS, [horizonDays, SETTLED_DAYS])) {
      const outcome = await dropMonth(client, month);
      // It is half-way off, and no other can follow before it is: the next run begins with it.
      if (outcome === 'busy') break;
      if (outcome === 'dropped') dropped += 1;
    }
    return dropped;
  } finally {
    await client.end();
  }
}

/** Detached concurrently: statements on other months go on meanwhile. It cannot be part of a transaction. */
async function dropMonth(client: Client, month: Month): Promise<'dropped' | 'kept' | 'busy'> {
  const { name, is_expired, is_detached, is_pending } = month;
  try {
    if (!is_detached) {
      if (!is_pending && !is_expired && !(await isEmpty(client, name))) return 'kept';
      const how = is_pending ? 'finalize' : 'concurrently';
      await client.query(`alter table turns detach partition ${name} ${how}`);
    }
    await client.query(`drop table ${name}`);
    return 'dropped';
  } catch (error) {
    if ((error as { code?: unknown }).code === LOCK_NOT_AVAILABLE) return 'busy';
    throw error;
  }
}

async function isEmpty(client: Client, name: string): Promise<boolean> {
  return (await client.query(`select from ${name} limit 1`)).rowCount === 0;
}

// Names are ours (create_turn_partitions), so they may be part of a statement.
const OLD_MONTHS = `
  select c.relname as name, not c.relispartition as is_detached, coalesce(i.inhdetachpending, false) as is_pending,
    coalesce(month.ends < now() - make_interval(days => $1), false) as is_expired
  from pg_class c left join pg_inherits i on i.inhrelid = c.oid,
    lateral (select to_date(substr(c.relname, 7), 'YYYY_MM') + interval '1 month' as ends) month
  where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.relname ~ '^turns_\\d{4}_\\d{2}$'
    and month.ends < now() - make_interval(days => $2)
  order by c.relispartition, i.inhdetachpending desc nulls last, c.relname`;
