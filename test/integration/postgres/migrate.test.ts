// Bringing databases of every age to this version's schema.
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { migrate, requireSchema } from '../../../postgres/migrate.ts';
import { createPool, row, rows } from '../../../postgres/pool.ts';
import { projectPath } from '../../../process/paths.ts';
import { refuseWrongSchema } from '../../../process/start.ts';
import { createTestDatabase } from '../../helpers/database.ts';
import type { TestDatabase } from '../../helpers/database.ts';

const FOLDER = projectPath('migrations');
const NAMES = readdirSync(FOLDER)
  .map((file) => file.replace('.sql', ''))
  .toSorted();

let database: TestDatabase;
let pool: ReturnType<typeof createPool>;
const made: string[] = [];

async function start(content: 'empty' | 'old' | 'schema'): Promise<void> {
  database = await createTestDatabase(content === 'schema' ? 'schema' : 'empty');
  if (content === 'old') {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query(readFileSync(projectPath('test', 'fixtures', 'schema-0005.sql'), 'utf8'));
    await client.end();
  }
  pool = createPool({ url: database.url, poolSize: 2 }, () => undefined);
}

afterEach(async () => {
  await pool.end();
  await database.drop();
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true });
});

const applied = async (): Promise<string[]> =>
  (await rows<{ name: string }>(pool, 'select name from schema_migrations order by id')).map(
    ({ name }) => name,
  );

/** The migrations folder with one more file. */
function folderWith(name: string, sql: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'colloquy-migrations-'));
  made.push(folder);
  cpSync(FOLDER, folder, { recursive: true });
  writeFileSync(join(folder, `${name}.sql`), sql);
  return folder;
}

const messageOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it went through',
    (error: unknown) => (error as Error).message,
  );

describe('migrate', () => {
  it.each(['empty', 'old'] as const)(
    'brings an %s database to this version once, though four start at the same time',
    async (content) => {
      await start(content);
      await Promise.all(Array.from({ length: 4 }, () => migrate(database.url, FOLDER)));
      expect(await applied()).toEqual(NAMES);
      await requireSchema(pool, FOLDER);
    },
    20_000,
  );

  it('keeps every row of an old database, and what is new has its default', async () => {
    await start('old');
    await migrate(database.url, FOLDER);
    const kept = await row(
      pool,
      `select c.title, c.system_prompt, r.idempotency_key, l.cost_usd, f.text as fact, o.retention_days, c.version,
         (select array_agg(content order by turn_id) from turns t where t.conversation_id = c.conversation_id) as texts
       from conversations c join turn_requests r using (conversation_id) join ledger l using (turn_id)
       join user_memory f on f.user_id = c.user_id join organisations o on o.org_id = c.org_id`,
    );
    expect(kept).toEqual({
      title: 'kept title',
      system_prompt: 'kept prompt',
      idempotency_key: 'kept key',
      cost_usd: 0.5,
      fact: 'kept fact',
      retention_days: null,
      version: 0,
      texts: ['kept question', 'kept answer'],
    });
    expect(await rows(pool, `select 1 from api_keys where key_prefix = 'cq_old'`)).toHaveLength(1);
  });

  it('leaves no trace of a migration that fails, says why in one line, and goes on when it is mended', async () => {
    await start('schema');
    const broken = folderWith(
      '9998_broken',
      'create table half_done (id integer);\nselect 1 / 0;\ncreate table never (id integer);',
    );
    const message = await messageOf(migrate(database.url, broken));
    expect(message).toMatch(/^The schema could not be migrated: .*division by zero/);
    expect(message).not.toContain('\n');
    expect(await row(pool, `select to_regclass('half_done') as it`)).toEqual({ it: null });
    expect(await applied()).toEqual(NAMES);
    const refused = await messageOf(
      refuseWrongSchema(async () => (await requireSchema(pool, broken), true)),
    );
    expect(refused).toMatch(/^The database lacks 9998_broken: .*npm run migrate/);
    expect(refused).not.toContain('\n');
    writeFileSync(join(broken, '9998_broken.sql'), 'create table done (id integer);');
    await migrate(database.url, broken);
    await requireSchema(pool, broken);
  });

  it('refuses a schema that is newer than the code, and touches nothing', async () => {
    await start('schema');
    const later = folderWith('9999_future', 'create table future (id integer);');
    await migrate(database.url, later);
    const expected =
      /^The database's schema is newer than this version: it has 9999_future\. [^\n]*$/;
    expect(await messageOf(migrate(database.url, FOLDER))).toMatch(expected);
    expect(
      await messageOf(refuseWrongSchema(async () => (await requireSchema(pool, FOLDER), true))),
    ).toMatch(expected);
    expect(await applied()).toEqual([...NAMES, '9999_future']);
  });

  it('gives up on a table that somebody holds, rather than making everybody wait behind it', async () => {
    await start('schema');
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('begin; lock table turns in access share mode');
    const folder = folderWith(
      '9997_change',
      `set local lock_timeout = '200ms';\nalter table turns add column more text;`,
    );
    expect(await messageOf(migrate(database.url, folder))).toMatch(/lock timeout/);
    await holder.end();
    await migrate(database.url, folder);
  });

  it('finds an empty database lacking everything', async () => {
    await start('empty');
    expect(await messageOf(requireSchema(pool, FOLDER))).toMatch(/^The database lacks 0001_/);
  });

  it('does not take a store that is away for a wrong schema', async () => {
    await start('empty');
    const away = createPool({ url: 'postgres://x:x@127.0.0.1:1/x', poolSize: 1 }, () => undefined);
    await refuseWrongSchema(async () => (await requireSchema(away, FOLDER), true));
    await away.end();
  });
});
