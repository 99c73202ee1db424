import { startReplicatedDatabase } from '../../helpers/replicated-database.ts';
import type { ReplicatedDatabase } from '../../helpers/replicated-database.ts';
import { waitFor } from '../../helpers/wait-for.ts';

let database: ReplicatedDatabase;

beforeAll(async () => {
  database = await startReplicatedDatabase(2);
}, 120_000);
afterAll(() => database.close(), 60_000);

const synchronous = (name: string) => database.on(name, 'show synchronous_standby_names');

it('streams', async () => {
  expect(database.cluster.primary.name).toBe('postgres');
  expect(await synchronous('postgres')).toEqual([{ synchronous_standby_names: 'ANY 1 (*)' }]);
  await database.on('postgres', 'create table kept (value int)');
  const t0 = Date.now();
  database.signal('postgres', 'SIGKILL');
  await waitFor('another primary', () => database.cluster.primary.name !== 'postgres');
  const name = database.cluster.primary.name;
  await waitFor('writes', async () => {
    try { await database.on(name, 'insert into kept values (1)'); return true; } catch (e) { return false; }
  });
  console.log('gap', Date.now() - t0, database.told);
  await waitFor('old is back', async () => {
    try { return (await database.on('postgres', `select status, received_tli from pg_stat_wal_receiver`)).length > 0; } catch { return false; }
  }, 40000);
  console.log('back', Date.now() - t0, database.told, await database.on(name, 'select application_name, sync_state, state from pg_stat_replication'));
}, 90_000);
