// Statements as every caller runs them, on a real server.
import { AppError } from '../../../contracts/errors.ts';
import { createPool, impatient, row, rows, transaction } from '../../../postgres/pool.ts';
import { createTestDatabase } from '../../helpers/database.ts';

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let pool: ReturnType<typeof createPool>;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool({ url: database.url, poolSize: 2 }, () => undefined);
}, 60_000);
afterAll(async () => {
  await pool.end();
  await database.drop();
});

describe.each(['patient', 'impatient'] as const)('a statement on a %s pool', (kind) => {
  const db = (): typeof pool => (kind === 'patient' ? pool : impatient(pool, 60_000));

  it('takes parameters and gives rows, the first time and prepared', async () => {
    for (const value of [1, 2, 3])
      expect(await row(db(), 'select $1::integer + 1 as next', [value])).toEqual({
        next: value + 1,
      });
  });

  it('runs inside a transaction, and a throw takes all of it back', async () => {
    const table = `kept_${kind}`;
    await rows(db(), `create table ${table} (id integer)`);
    const insert = `insert into ${table} values ($1)`;
    await transaction(db(), async (client) => void (await rows(client, insert, [1])));
    const broken = transaction(db(), async (client) => {
      await rows(client, insert, [2]);
      throw new Error('undo');
    });
    await expect(broken).rejects.toThrow('undo');
    expect(await rows(db(), `select id from ${table}`)).toEqual([{ id: 1 }]);
  });
});

it('refuses on an impatient pool what is not answered in time, and serves the next caller', async () => {
  const ends: boolean[] = [];
  const db = impatient(pool, 50, (isAnswered) => ends.push(isAnswered));
  const hung: unknown = await rows(db, 'select pg_sleep(30)').catch((error: unknown) => error);
  expect(hung).toBeInstanceOf(AppError);
  expect((hung as AppError).code).toBe('STORAGE_UNAVAILABLE');
  expect(await row(impatient(pool, 60_000), 'select 1 as one')).toEqual({ one: 1 });
  await rows(
    impatient(pool, 60_000, (isAnswered) => ends.push(isAnswered)),
    'select 1 / 0',
  ).catch(() => undefined);
  expect(ends).toEqual([false, true]);
});

it('takes a connection that the server ends between two statements of a transaction for a store that is away', async () => {
  const broken = transaction(pool, async (client) => {
    const ended = new Promise((resolve) => client.once('end', resolve));
    const found = await row<{ pid: number }>(client, 'select pg_backend_pid() as pid');
    await rows(pool, 'select pg_terminate_backend($1)', [found?.pid]);
    await ended;
    await rows(client, 'select 1');
  });
  await expect(broken).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(await row(pool, 'select 1 as one')).toEqual({ one: 1 });
});
