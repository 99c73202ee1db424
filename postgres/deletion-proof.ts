// What the proof of deletion asks the database as its owner: a user of its own, and where a text is.
import { createHash } from 'node:crypto';
import { Client } from 'pg';
import type { UserId } from '../contracts/ids.ts';
import { row, rows } from './pool.ts';

/** A paid user in an organisation of their own. @param token in clear; its hash is stored */
export async function makeProofUser(ownerUrl: string, token: string): Promise<UserId> {
  return withClient(ownerUrl, async (client) => {
    const made = await row<{ user_id: UserId }>(client, MAKE_USER, [
      createHash('sha256').update(token).digest(),
      token.slice(0, 7),
    ]);
    if (made === null) throw new Error('the user of the proof could not be made');
    return made.user_id;
  });
}

const MAKE_USER = `
  with org as (
    insert into organisations (name) values ('Proof of deletion') returning org_id
  ), made as (
    insert into users (org_id, name, tier) select org_id, 'proof', 'paid' from org returning user_id
  ), key as (
    insert into api_keys (key_hash, key_prefix, user_id) select $1, $2, user_id from made
  )
  select user_id from made`;

/** Table → rows in which the text is, as text or as bytes; tables without are left out. Statistics count too: they keep samples. */
export async function rowsWith(ownerUrl: string, text: string): Promise<Record<string, number>> {
  return withClient(ownerUrl, async (client) => {
    const found: Record<string, number> = {};
    const patterns = [`%${text}%`, `%${Buffer.from(text).toString('hex')}%`];
    for (const { name } of await rows<{ name: string }>(client, EVERY_TABLE)) {
      const counted = await row<{ n: number }>(
        client,
        `select count(*) as n from ${name} t where t::text like any($1)`,
        [patterns],
      );
      if (counted !== null && counted.n > 0) found[name] = counted.n;
    }
    return found;
  });
}

const EVERY_TABLE = `
  select format('%I.%I', nspname, relname) as name from pg_class c join pg_namespace n on n.oid = relnamespace
  where relkind = 'r' and (nspname = 'public' or (nspname = 'pg_catalog' and relname = 'pg_statistic'))`;

/** The folder of the server's files, on its machine; null when the role may not know. */
export async function dataFolder(ownerUrl: string): Promise<string | null> {
  return withClient(ownerUrl, async (client) => {
    const shown = await rows<{ data_directory: string }>(client, 'show data_directory').catch(
      () => [],
    );
    return shown[0]?.data_directory ?? null;
  });
}

/** Writes what is in memory only to the files, so that they can be searched. */
export async function flushFiles(ownerUrl: string): Promise<void> {
  await withClient(ownerUrl, (client) => client.query('checkpoint'));
}

async function withClient<Result>(
  url: string,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
