// Brings a database to this version's schema: plain SQL files, forward only, under an advisory lock so that several
// processes may try at once; then sees to the partitions of the months ahead.
import { readdirSync } from 'node:fs';
import { Client } from 'pg';
import { runner } from 'node-pg-migrate';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

/** Months of `turns` partitions kept ready ahead of now; the schedule renews them daily. */
export const PARTITION_MONTHS_AHEAD = 4;
/** A change of the schema that waits longer than this for a lock gives up: statements queue behind it meanwhile. */
const LOCK_TIMEOUT_MS = 10_000;
const TABLE = 'schema_migrations';

/**
 * @param databaseUrl a role that may create tables
 * @param folder the migrations folder
 * @throws Error in one line when a migration fails or the schema is newer than the folder; it leaves no trace, and earlier
 * ones stay
 */
export async function migrate(databaseUrl: string, folder: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // Ours, because the runner's own would be subject to the lock time-out. It goes with the connection.
    await client.query(`select pg_advisory_lock(hashtext('migrate'))`);
    await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const { unknown } = compare(await appliedMigrations(client), migrationsIn(folder));
    if (unknown.length > 0) throw new Error(newer(unknown));
    await runner({
      dbClient: client,
      dir: folder,
      direction: 'up',
      migrationsTable: TABLE,
      checkOrder: true,
      noLock: true,
      log: () => undefined,
    }).catch((error: unknown) => {
      throw new Error(`The schema could not be migrated: ${firstLine(error)}`, { cause: error });
    });
    // One day back: clocks differ, and a turn minted just before midnight must find its month.
    await client.query(`select create_turn_partitions(now() - interval '1 day', $1)`, [
      PARTITION_MONTHS_AHEAD,
    ]);
  } finally {
    await client.end();
  }
}

/**
 * What every process asks before it serves. It changes nothing: processes run as a role that cannot.
 * @throws Error in one line when the schema is older or newer than this version, with what to do
 */
export async function requireSchema(db: Db, folder: string): Promise<void> {
  const { missing, unknown } = compare(await appliedMigrations(db), migrationsIn(folder));
  if (unknown.length > 0) throw new Error(newer(unknown));
  if (missing.length > 0)
    throw new Error(
      `The database lacks ${missing.join(', ')}: bring it to this version first (npm start does, or npm run migrate).`,
    );
}

/**
 * requireSchema as a readiness check: asked until it holds once.
 * @throws Error as requireSchema does; AppError while the store does not answer
 */
export function createSchemaCheck(db: Db, folder: string): () => Promise<boolean> {
  let isRight = false;
  return async () => {
    if (!isRight) await requireSchema(db, folder);
    isRight = true;
    return true;
  };
}

/** Names of the applied migrations; none in an empty database. */
async function appliedMigrations(db: Db): Promise<string[]> {
  const table = await row<{ name: string | null }>(db, 'select to_regclass($1)::text as name', [
    TABLE,
  ]);
  if (table === null || table.name === null) return [];
  const applied = await rows<{ name: string }>(db, `select name from ${TABLE}`);
  return applied.map(({ name }) => name);
}

function migrationsIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .map((file) => file.slice(0, -'.sql'.length));
}

function compare(
  applied: readonly string[],
  known: readonly string[],
): { missing: string[]; unknown: string[] } {
  return {
    missing: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  };
}

function newer(unknown: readonly string[]): string {
  return `The database's schema is newer than this version: it has ${unknown.join(', ')}. Run the version that made it, or a later one.`;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().split('\n')[0] ?? '';
}
