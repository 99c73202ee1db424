// Rows of a slot from one database to another. Rows travel as JSON made and read by the servers, so that this side knows
// no column; names of tables and columns come from OWNED_TABLES and the catalogue, never from outside.
import { OWNED_TABLES } from './shard-tables.ts';
import type { OwnedTable } from './shard-tables.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

const BATCH_ROWS = 200;
const DELETE_ROWS = 2000;

/** A table with the columns that its rows are written with. */
export interface CopiedTable extends OwnedTable {
  readonly columns: readonly string[];
}

/** Every owned table as it is in this database, in the order in which rows may be written. */
export async function copiedTables(db: Db): Promise<CopiedTable[]> {
  const found = await rows<{ name: string; columns: string[] }>(
    db,
    `select c.relname as name, array_agg(quote_ident(a.attname) order by a.attnum) as columns
     from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = 'public'::regnamespace and c.relname = any($1::text[])
       and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
     group by c.relname`,
    [OWNED_TABLES.map(({ name }) => name)],
  );
  return OWNED_TABLES.map((table) => ({
    ...table,
    columns: found.find(({ name }) => name === table.name)?.columns ?? [],
  }));
}

/**
 * Copies every row of the slot as of one moment.
 * @param source a client of its own: it is in a transaction meanwhile
 * @returns rows copied
 */
export async function copySlot(
  source: Db,
  slot: number,
  write: (table: CopiedTable, json: string) => Promise<void>,
): Promise<number> {
  let numRows = 0;
  await rows(source, 'begin isolation level repeatable read read only');
  try {
    for (const table of await copiedTables(source)) {
      await rows(
        source,
        `declare copied no scroll cursor for
         select to_jsonb(t)::text as body from ${table.name} t where ${ofSlot(table, slot)}`,
      );
      for (;;) {
        const batch = await rows<{ body: string }>(source, `fetch ${BATCH_ROWS} from copied`);
        if (batch.length === 0) break;
        await write(table, `[${batch.map(({ body }) => body).join(',')}]`);
        numRows += batch.length;
      }
      await rows(source, 'close copied');
    }
  } finally {
    await rows(source, 'rollback');
  }
  return numRows;
}

/** Makes the target's rows those of the list, whether or not they were there. @param json rows as an array of objects */
export async function writeRows(
  target: Db,
  { name, key, columns }: CopiedTable,
  json: string,
): Promise<void> {
  const list = columns.join(', ');
  const others = columns.filter((column) => !key.includes(column));
  const change =
    others.length === 0
      ? 'do nothing'
      : `do update set ${others.map((column) => `${column} = excluded.${column}`).join(', ')}`;
  await rows(
    target,
    `insert into ${name} (${list}) overriding system value
     select ${list} from jsonb_populate_recordset(null::${name}, $1::jsonb)
     on conflict (${key.join(', ')}) ${change}`,
    [json],
  );
}

/** Rows with these keys as they are now: those that exist, and the keys of those that do not. Null for none. */
export async function rowsOfKeys(
  source: Db,
  { name, key }: CopiedTable,
  keys: string,
): Promise<{ present: string | null; absent: string | null }> {
  const found = await row<{ present: string | null; absent: string | null }>(
    source,
    `select (jsonb_agg(to_jsonb(t) order by k.n) filter (where t.${key[0]} is not null))::text as present,
       (jsonb_agg(k.key) filter (where t.${key[0]} is null))::text as absent
     from jsonb_array_elements($1::jsonb) with ordinality as k(key, n)
     cross join lateral jsonb_populate_record(null::${name}, k.key) as r
     left join ${name} t on ${sameKey(key)}`,
    [keys],
  );
  return { present: found?.present ?? null, absent: found?.absent ?? null };
}

export async function deleteKeys(
  target: Db,
  { name, key }: OwnedTable,
  keys: string,
): Promise<void> {
  await rows(
    target,
    `delete from ${name} t using jsonb_array_elements($1::jsonb) as k(key)
       cross join lateral jsonb_populate_record(null::${name}, k.key) as r
     where ${sameKey(key)}`,
    [keys],
  );
}

/** What is known only by its conversation goes with it. @param keys of conversations */
export async function deleteOfConversations(
  target: Db,
  { name }: OwnedTable,
  keys: string,
): Promise<void> {
  await rows(
    target,
    `delete from ${name} where conversation_id in (
       select (k ->> 'conversation_id')::uuid from jsonb_array_elements($1::jsonb) as k)`,
    [keys],
  );
}

/** Deletes some of the slot's rows; returns how many, 0 when none are left. */
export async function deleteSomeOfSlot(db: Db, table: OwnedTable, slot: number): Promise<number> {
  const { name, key } = table;
  const list = key.join(', ');
  const deleted = await row<{ count: number }>(
    db,
    `with gone as (
       delete from ${name} where (${list}) in (
         select ${list} from ${name} t where ${ofSlot(table, slot)} limit ${DELETE_ROWS})
       returning 1
     ) select count(*) as count from gone`,
  );
  return deleted?.count ?? 0;
}

/** Rows of the slot by table. */
export async function countSlot(db: Db, slot: number): Promise<Record<string, number>> {
  const counts = OWNED_TABLES.map(async (table) => {
    const found = await row<{ count: number }>(
      db,
      `select count(*) as count from ${table.name} t where ${ofSlot(table, slot)}`,
    );
    return [table.name, found?.count ?? 0] as const;
  });
  return Object.fromEntries(await Promise.all(counts));
}

/** Makes the month partitions that the source has and the target may not. */
export async function makePartitionsOf(source: Db, target: Db): Promise<void> {
  const found = await row<{ first: string | null }>(
    source,
    `select min(substring(c.relname from 'turns_(.*)')) as first
     from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'turns'::regclass`,
  );
  const first = found?.first ?? null;
  if (first === null) return;
  await rows(
    target,
    `select create_turn_partitions(month, (extract(year from age(now(), month)) * 12 + extract(month from age(now(), month)))::integer)
     from (select to_timestamp($1, 'YYYY_MM') as month) first`,
    [first],
  );
}

function sameKey(key: readonly string[]): string {
  return key.map((column) => `t.${column} = r.${column}`).join(' and ');
}

/** The condition on `t`. A cursor takes no parameters. */
function ofSlot({ owner, key }: OwnedTable, slot: number): string {
  const number = Math.trunc(slot);
  // Found by its conversation where the primary key begins with it: an index does that, and none knows slots.
  return owner === 'conversation_id' || (key[0] === 'conversation_id' && key.length > 1)
    ? `t.conversation_id in (select conversation_id from conversations where slot_of(user_id) = ${number})`
    : `slot_of(t.user_id) = ${number}`;
}
