// The second wall: what a statement sees that forgot to ask for its owner's rows only.
import { randomUUID } from 'node:crypto';
import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { UserId } from '../../../contracts/ids.ts';
import { findPrincipal } from '../../../postgres/api-keys.ts';
import { seedDemo } from '../../../postgres/demo-users.ts';
import { createPool, impatient, rows, transaction } from '../../../postgres/pool.ts';
import type { Db, Pool } from '../../../postgres/pool.ts';
import { impatientStores, singleStore } from '../../../postgres/stores.ts';
import { walled, walledStores } from '../../../postgres/walled-stores.ts';
import { createTestDatabase } from '../../helpers/database.ts';

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let owner: Pool;
let app: Pool;
let mine: UserId;
let theirs: UserId;

const TOKENS = { free: 'cq_f', paid: 'cq_p', enterprise: 'cq_e', admin: 'cq_a' };
/** Tables with rows of a user's, beside those of the directory. */
const seen = async (db: Db, table: string): Promise<string[]> =>
  (await rows<{ user_id: string }>(db, `select user_id from ${table}`)).map((each) => each.user_id);

beforeAll(async () => {
  database = await createTestDatabase();
  owner = createPool({ url: database.url, poolSize: 2 }, () => undefined);
  app = createPool({ url: database.appUrl, poolSize: 1 }, () => undefined);
  const { users } = await seedDemo(database.url, TOKENS);
  [mine, theirs] = [users.free, users.paid];
  for (const userId of [mine, theirs]) {
    const conversationId = newConversationId();
    await rows(
      owner,
      `insert into conversations (conversation_id, user_id, org_id, model, region)
       select $1, user_id, org_id, 'm', 'r' from users where user_id = $2`,
      [conversationId, userId],
    );
    await rows(
      owner,
      `insert into turns (turn_id, conversation_id, user_id, role, content) values (uuidv7(), $1, $2, 'user', 'x')`,
      [conversationId, userId],
    );
    await rows(
      owner,
      `insert into turn_requests (turn_id, user_turn_id, conversation_id, user_id, params, model, pool)
       values (uuidv7(), uuidv7(), $1, $2, '{}', 'm', 'p')`,
      [conversationId, userId],
    );
    await rows(
      owner,
      `insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens,
         completion_tokens, cached_tokens, cost_usd) values (uuidv7(), $2, uuidv7(), $1, 'm', 'stop', 1, 1, 0, 0)`,
      [conversationId, userId],
    );
    await rows(
      owner,
      `insert into user_memory (user_id, fact_id, text) values ($1, uuidv7(), 'x')`,
      [userId],
    );
  }
}, 60_000);
afterAll(async () => {
  await app.end();
  await owner.end();
  await database.drop();
});

const OWNED = ['conversations', 'turns', 'turn_requests', 'ledger', 'user_memory'];

describe('a statement that asks for everybody’s rows', () => {
  it.each(OWNED)('sees of %s the caller’s only, and without a caller none', async (table) => {
    const ownOnly = walled(app, mine);
    for (const db of [ownOnly, impatient(ownOnly, 5000), walled(impatient(app, 5000), mine)])
      expect(await seen(db, table)).toEqual([mine]);
    expect(await seen(app, table)).toEqual([]);
    expect(await seen(walled(app, 'directory'), table)).toEqual([]);
    expect((await seen(walled(app, 'sweep'), table)).toSorted()).toEqual([mine, theirs].toSorted());
    // The one connection has served everybody meanwhile, and kept nothing of it.
    expect(await seen(app, table)).toEqual([]);
  });

  it('changes and removes nobody else’s rows, and makes none in their name', async () => {
    const db = walled(app, mine);
    expect(await rows(db, `update turns set content = 'y' returning user_id`)).toEqual([
      { user_id: mine },
    ]);
    expect(
      await rows(db, 'delete from user_memory where user_id = $1 returning user_id', [theirs]),
    ).toEqual([]);
    const forged = rows(
      db,
      `insert into user_memory (user_id, fact_id, text) values ($1, uuidv7(), 'x')`,
      [theirs],
    );
    await expect(forged).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  it('is walled in a transaction too, to its end, also when it throws', async () => {
    const db = walled(app, mine);
    const look = transaction(db, async (client) => [
      await seen(client, 'turns'),
      await seen(client, 'conversations'),
    ]);
    expect(await look).toEqual([[mine], [mine]]);
    const broken = transaction(db, async (client) => {
      await rows(client, 'select 1 / 0');
    });
    await expect(broken).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await seen(app, 'turns')).toEqual([]);
    expect(await seen(db, 'turns')).toEqual([mine]);
  });

  it('is walled without a name too, and after a statement that failed', async () => {
    const db = walled(app, mine);
    const unnamed = async (): Promise<unknown[]> =>
      (await db.query<{ user_id: string }>({ text: 'select user_id from turns', values: [] })).rows;
    expect(await unnamed()).toEqual([{ user_id: mine }]);
    await expect(db.query({ text: 'select nonsense', values: [] })).rejects.toThrow('nonsense');
    await expect(rows(db, 'select more_nonsense')).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(rows(db, 'select more_nonsense')).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await unnamed()).toEqual([{ user_id: mine }]);
    expect(await seen(app, 'turns')).toEqual([]);
  });

  it('keeps to one caller each when many share a connection', async () => {
    const asked = Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? mine : theirs));
    const answers = await Promise.all(asked.map((userId) => seen(walled(app, userId), 'turns')));
    expect(answers).toEqual(asked.map((userId) => [userId]));
  });
});

describe('stores behind the wall', () => {
  it('show each owner their own rows, look callers up, and sweep where sweeping is allowed', async () => {
    const stores = impatientStores(walledStores(singleStore(app), { hasSweeps: false }), 5000);
    expect(await seen(stores.primaryOf(mine), 'turns')).toEqual([mine]);
    expect(await seen(await stores.readerOf(theirs, null), 'turns')).toEqual([theirs]);
    expect(await seen(stores.primaries[0] ?? app, 'turns')).toEqual([]);
    const sweeping = walledStores(singleStore(app), { hasSweeps: true });
    expect(await seen(sweeping.primaries[0] ?? app, 'turns')).toHaveLength(2);
    const { createHash } = await import('node:crypto');
    const hash = createHash('sha256').update(TOKENS.paid).digest();
    expect(await findPrincipal(stores.directory, hash)).toMatchObject({ userId: theirs });
    expect(await findPrincipal(app, hash)).toBeNull();
  });
});

describe('the role that processes run as', () => {
  it.each([
    'create table made (id integer)',
    'create temporary table made (id integer)',
    'alter table turns add column extra text',
    'drop table user_memory',
    'truncate turns',
    'delete from ledger',
    `update ledger set cost_usd = 0`,
    `insert into users (org_id, name, tier) values (uuidv7(), 'x', 'paid')`,
    `insert into api_keys (key_hash, key_prefix, user_id) values ('x', 'x', uuidv7())`,
    'delete from schema_migrations',
    'alter table turns disable row level security',
    'set role colloquy',
  ])('may not: %s', async (statement) => {
    await owner.query(
      'revoke temporary on database ' + new URL(database.url).pathname.slice(1) + ' from public',
    );
    const asked = app.query(statement);
    await expect(asked).rejects.toMatchObject({ code: expect.stringMatching(/^42501$/) as string });
  });

  it('may make the months ahead, which are as closed as the others', async () => {
    const [made] = await rows<{ made: number }>(
      app,
      `select create_turn_partitions('2031-01-05', 1) as made`,
    );
    expect(made).toEqual({ made: 2 });
    await expect(app.query('select * from turns_2031_01')).rejects.toMatchObject({ code: '42501' });
  });
});

describe('the schema', () => {
  it('has a policy on every table with rows of a user or a conversation', async () => {
    const open = await rows(
      owner,
      `select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
         and a.attname in ('user_id', 'conversation_id') and not a.attisdropped
         and (not c.relrowsecurity or not exists (select from pg_policy p where p.polrelid = c.oid))`,
    );
    expect(open).toEqual([]);
  });

  it('has no default partition: a turn of no month is refused, not kept out of sight', async () => {
    const fallback = await rows(
      owner,
      `select relname from pg_class where relispartition and pg_get_expr(relpartbound, oid) = 'DEFAULT'`,
    );
    expect(fallback).toEqual([]);
    const homeless = rows(
      owner,
      `insert into turns (turn_id, conversation_id, user_id, role, content) values (uuidv7_floor('1999-01-01'), $1, $1, 'user', 'x')`,
      [randomUUID()],
    );
    await expect(homeless).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  it('keeps no samples of what users wrote in the planner’s statistics', async () => {
    await owner.query('analyze');
    const sampled = await rows(
      owner,
      `select tablename, attname from pg_stats where schemaname = 'public'
         and attname in ('content', 'text', 'title', 'system_prompt', 'summary', 'params', 'idempotency_key')`,
    );
    expect(sampled).toEqual([]);
  });

  it('plans the hot statements by their keys behind the wall, as before it', async () => {
    const client = await app.connect();
    try {
      await client.query('begin');
      await client.query(`select set_config('app.user_id', $1, true)`, [mine]);
      await client.query('set local enable_seqscan = off');
      const { rows: plan } = await client.query<{ 'QUERY PLAN': string }>(
        `explain select content from turns where conversation_id = '${randomUUID()}'
           and turn_id <= '${newTurnId()}' order by turn_id desc limit 50`,
      );
      const text = plan.map((each) => each['QUERY PLAN']).join('\n');
      expect(text).toMatch(/Index Cond: \(\(conversation_id = .*turn_id <= '/);
      expect(text).not.toMatch(/Seq Scan/);
    } finally {
      await client.query('rollback');
      client.release();
    }
  });
});
