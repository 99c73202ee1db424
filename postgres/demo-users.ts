// The demo organisation of a fresh installation: one user per tier and an administrator, each with a given token.
import { createHash } from 'node:crypto';
import { Client } from 'pg';
import type { UserId } from '../contracts/ids.ts';

export const DEMO_USERS = Object.freeze(['free', 'paid', 'enterprise', 'admin'] as const);
export type DemoUser = (typeof DEMO_USERS)[number];

/**
 * Makes what is missing and keeps what is there; a token that changed replaces the old one.
 * @param tokens bearer tokens in clear; only their hashes are stored
 */
export async function seedDemo(
  databaseUrl: string,
  tokens: Readonly<Record<DemoUser, string>>,
): Promise<{ users: Record<DemoUser, UserId> }> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('begin');
    await client.query(`select pg_advisory_xact_lock(hashtext('seed_demo'))`);
    const users: Partial<Record<DemoUser, UserId>> = {};
    for (const name of DEMO_USERS) {
      const found = await client.query<{ user_id: UserId }>(UPSERT_USER, [
        name,
        name === 'admin' ? 'enterprise' : name,
        name === 'admin' ? 'admin' : 'member',
      ]);
      const userId = found.rows[0]?.user_id;
      if (userId === undefined) throw new Error(`the demo user ${name} could not be made`);
      users[name] = userId;
      const token = tokens[name];
      const hash = createHash('sha256').update(token).digest();
      await client.query('delete from api_keys where user_id = $1 and key_hash <> $2', [
        userId,
        hash,
      ]);
      await client.query(
        'insert into api_keys (key_hash, key_prefix, user_id) values ($1, $2, $3) on conflict (key_hash) do nothing',
        [hash, token.slice(0, 7), userId],
      );
    }
    await client.query('commit');
    return { users: users as Record<DemoUser, UserId> };
  } finally {
    await client.end();
  }
}

const UPSERT_USER = `
  with existing_org as (
    select org_id from organisations where name = 'Demo' order by created_at limit 1
  ), new_org as (
    insert into organisations (name) select 'Demo' where not exists (select 1 from existing_org) returning org_id
  ), org as (
    select org_id from existing_org union all select org_id from new_org
  ), existing as (
    select u.user_id from users u join existing_org using (org_id) where u.name = $1
  ), made as (
    insert into users (org_id, name, tier, role) select org_id, $1, $2, $3 from org
    where not exists (select 1 from existing) returning user_id
  )
  select user_id from existing union all select user_id from made`;
