// Makes shards of several databases with our schema: guards on their tables, the directory's copies, a map. Idempotent; runs
// at every start, before anything is written.
import { Client } from 'pg';
import { waitUntil } from './shard-wait.ts';
import { readMap } from './shard-map-rows.ts';
import { fillMap, isUnused, ownedSlots, ownSlots } from './shard-setup-rows.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';
import { NUM_SLOTS } from './shard-slots.ts';
import { COPIED_TABLES, OWNED_TABLES } from './shard-tables.ts';
import type { OwnedTable } from './shard-tables.ts';

const PUBLICATION = 'colloquy_directory';
/** Copying a directory of a million users takes seconds. */
const COPY_TIMEOUT_MS = 120_000;

/**
 * @param urls databases by shard; the first is the directory
 * @throws Error in words for the operator
 */
export async function connectShards(urls: readonly string[]): Promise<void> {
  const clients = urls.map((connectionString) => new Client({ connectionString }));
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const [directory, ...others] = clients;
    if (directory === undefined) return;
    const shards = (await readMap(directory)).shards;
    const last = Math.max(...shards);
    if (last >= urls.length)
      throw new Error(
        `The shard map names shard ${last}, and ${urls.length} of them ${urls.length === 1 ? 'is' : 'are'} configured.`,
      );
    if (others.length === 0) return;
    await publish(directory);
    for (const [index, shard] of others.entries())
      await subscribe(shard, directory, index + 1, urls[0] ?? '');
    for (const client of clients) for (const table of OWNED_TABLES) await guardTable(client, table);
    await spreadSlots(clients);
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

/** Takes a shard's tie to the directory away, so that its database can be dropped. */
export async function disconnectShard(
  shardUrl: string,
  shard: number,
  directoryUrl: string,
): Promise<void> {
  const clients = [shardUrl, directoryUrl].map(
    (connectionString) => new Client({ connectionString }),
  );
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const [own, directory] = clients;
    if (own === undefined || directory === undefined) return;
    const name = await slotName(directory, shard);
    // Without its slot a subscription can be dropped while the directory is away.
    await own.query(`alter subscription ${name} disable`);
    await own.query(`alter subscription ${name} set (slot_name = none)`);
    await own.query(`drop subscription ${name}`);
    await waitUntil(COPY_TIMEOUT_MS, async () => !(await isActive(directory, name)));
    await directory.query('select pg_drop_replication_slot($1)', [name]);
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

async function publish(directory: Db): Promise<void> {
  const setting = await row<{ wal_level: string }>(directory, 'show wal_level');
  if (setting?.wal_level !== 'logical')
    throw new Error('Several shards need wal_level = logical on the database of DATABASE_URL.');
  const found = await row(directory, 'select 1 from pg_publication where pubname = $1', [
    PUBLICATION,
  ]);
  if (found === null)
    await rows(
      directory,
      `create publication ${PUBLICATION} for table ${COPIED_TABLES.join(', ')}`,
    );
}

/** The slot is made by us: a subscription that makes its own cannot be within one server, as in tests. */
async function subscribe(
  shard: Db,
  directory: Db,
  number: number,
  directoryUrl: string,
): Promise<void> {
  const name = await slotName(directory, number);
  const connection = (
    await row<{ literal: string }>(shard, 'select quote_literal($1) as literal', [directoryUrl])
  )?.literal;
  const slot = await row(directory, 'select 1 from pg_replication_slots where slot_name = $1', [
    name,
  ]);
  if (slot === null)
    await rows(directory, `select pg_create_logical_replication_slot($1, 'pgoutput')`, [name]);
  const found = await row(
    shard,
    `select 1 from pg_subscription where subname = $1 and subdbid = (select oid from pg_database where datname = current_database())`,
    [name],
  );
  await rows(
    shard,
    found === null
      ? `create subscription ${name} connection ${connection} publication ${PUBLICATION} with (create_slot = false, slot_name = ${name})`
      : `alter subscription ${name} connection ${connection}`,
  );
  await waitUntil(COPY_TIMEOUT_MS, async () => {
    const state = await row<{ ready: boolean | null }>(
      shard,
      `select bool_and(r.srsubstate = 'r') as ready from pg_subscription_rel r join pg_subscription s on s.oid = r.srsubid
       where s.subname = $1`,
      [name],
    );
    return state?.ready === true;
  });
}

/** Of the subscription and its slot; two systems on one server do not meet. */
async function slotName(directory: Db, shard: number): Promise<string> {
  const found = await row<{ oid: number }>(
    directory,
    'select oid::bigint as oid from pg_database where datname = current_database()',
  );
  return `colloquy_${found?.oid ?? 0}_shard_${shard}`;
}

async function isActive(directory: Db, name: string): Promise<boolean> {
  const slot = await row<{ active: boolean }>(
    directory,
    'select active from pg_replication_slots where slot_name = $1',
    [name],
  );
  return slot?.active === true;
}

async function guardTable(db: Db, { name, owner, key }: OwnedTable): Promise<void> {
  const guard = owner === 'user_id' ? 'guard_owned_row' : 'guard_row_of_conversation';
  const found = await row(
    db,
    `select 1 from pg_trigger where tgrelid = $1::regclass and tgname = 'guard_slot'`,
    [name],
  );
  if (found !== null) return;
  await rows(
    db,
    `create trigger guard_slot before insert or update or delete on ${name}
     for each row execute function ${guard}('${name}', '${key.join(',')}')`,
  );
}

/** Gives slots that no shard has to the shard that the map names; a map that was never used is made even first. */
async function spreadSlots(databases: readonly Db[]): Promise<void> {
  const [directory] = databases;
  if (directory === undefined) return;
  const owned = await Promise.all(databases.map(ownedSlots));
  if (owned.flat().length === 0 && (await isUnused(directory)))
    await fillMap(directory, databases.length);
  const { shards } = await readMap(directory);
  const known = new Set((await Promise.all(databases.map(ownedSlots))).flat());
  const missing = Array.from({ length: NUM_SLOTS }, (_, slot) => slot).filter(
    (slot) => !known.has(slot),
  );
  for (const [shard, db] of databases.entries())
    await ownSlots(
      db,
      missing.filter((slot) => shards[slot] === shard),
    );
}
