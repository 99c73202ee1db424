// Reads on replicas and the change of a primary, on three nodes of our own. The long forms: COLLOQUY_READS=10000 for
// read-your-writes, COLLOQUY_TRIALS=10 for killed primaries.
import type { OrgId, UserId } from '../../../contracts/ids.ts';
import { insertConversation, listConversations } from '../../../postgres/conversations.ts';
import { isWritable, openStores } from '../../../postgres/open-stores.ts';
import { impatientStores } from '../../../postgres/stores.ts';
import type { Stores } from '../../../postgres/stores.ts';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { RedisWriteMarks } from '../../../redis/write-marks.ts';
import { newConversationId } from '../../../contracts/ids.ts';
import { writeMarkKey } from '../../../contracts/redis-keys.ts';
import { startReplicatedDatabase } from '../../helpers/replicated-database.ts';
import type { ReplicatedDatabase } from '../../helpers/replicated-database.ts';
import { services } from '../../helpers/services.ts';
import { StoreLoad } from '../../helpers/store-load.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const NUM_READS = Number(process.env['COLLOQUY_READS'] ?? 400);
const LAG_S = 5;

interface Reads {
  primary: number;
  replica: number;
}

let database: ReplicatedDatabase;
let owners: { userId: UserId; orgId: OrgId }[];
const redisClients: Redis[] = [];
const opened: Stores[] = [];

/** A process of ours as far as its stores go. @param redisUrl default: one that works */
function processStores(reads: Reads, redisUrl = services().redisUrl): Stores {
  const redis = connectRedis({
    url: redisUrl,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
    answerMs: 800,
  });
  redisClients.push(redis);
  const [url = '', ...replicaUrls] = database.urls;
  const stores = openStores({
    settings: {
      url,
      replicaUrls,
      shardUrls: [],
      poolSize: 10,
      maxLagMs: 10_000,
      namedStatements: true,
    },
    marks: new RedisWriteMarks(redis),
    onError: () => undefined,
    onRead: (node) => (reads[node] += 1),
    onLag: () => undefined,
  });
  opened.push(stores);
  // As the gateway's are.
  return impatientStores(stores, 1500);
}

const streamers = async (): Promise<string[]> => {
  const found = await database.on(
    database.cluster.primary.name,
    `select application_name as name from pg_stat_replication where state = 'streaming'`,
  );
  return found.map(({ name }) => String(name)).sort();
};

/** Every other node follows the primary, and what is acknowledged is on one of them. */
async function everybodyFollows(): Promise<void> {
  const { cluster } = database;
  await waitFor(
    'all standbys stream and writes wait for one',
    async () => {
      const [setting] = await database
        .on(cluster.primary.name, 'show synchronous_standby_names')
        .catch(() => []);
      const isAsked = setting?.['synchronous_standby_names'] === 'ANY 1 (*)';
      return isAsked && (await streamers()).length === cluster.nodes.length - 1;
    },
    60_000,
  );
}

async function delayReplay(name: string, seconds: number): Promise<void> {
  await database.on(name, `alter system set recovery_min_apply_delay = '${seconds}s'`);
  await database.on(name, 'select pg_reload_conf()');
}

async function forgetMarks(): Promise<void> {
  const [redis] = redisClients;
  for (const { userId } of owners) await redis?.del(writeMarkKey('main', userId));
}

beforeAll(async () => {
  database = await startReplicatedDatabase(2);
  owners = await Promise.all(Array.from({ length: 100 }, () => database.newUser()));
}, 120_000);

afterAll(async () => {
  await Promise.all(opened.map((stores) => stores.end()));
  redisClients.forEach((redis) => redis.disconnect());
  await database.close();
}, 60_000);

describe('a store with replicas', () => {
  // With every replica behind, the short form would be over before one is read.
  const cases = [['postgres-2'], ...(NUM_READS > 1000 ? [['postgres-2', 'postgres-3']] : [])];
  it.each(cases.map((behind) => [behind.length, behind] as const))(
    `shows everybody what was acknowledged, while %i of two replicas are ${LAG_S} s behind and marks are lost`,
    async (numBehind, behind) => {
      const reads: Reads = { primary: 0, replica: 0 };
      const stores = [processStores(reads), processStores(reads)];
      const paces = { numWriters: 4, numReaders: 4, writeEveryMs: 400, readEveryMs: 8 };
      const load = new StoreLoad({ stores, owners, ...paces });
      await load.prepare();
      for (const name of behind) await delayReplay(name, LAG_S);
      await waitFor('a replica is read', async () => {
        const [owner] = owners;
        if (owner === undefined) return true;
        const db = await stores[0]?.readerOf(owner.userId, null);
        if (db !== undefined) await listConversations(db, owner.userId, null, 1);
        return reads.replica > 0;
      });
      Object.assign(reads, { primary: 0, replica: 0 });
      load.start();
      for (let quarter = 1; quarter <= 4; quarter += 1) {
        const goal = (NUM_READS * quarter) / 4;
        await waitFor('enough was read', () => load.numReads >= goal, 300_000);
        if (quarter < 4 && numBehind === 1) await forgetMarks();
      }
      await load.stop();
      for (const name of behind) await delayReplay(name, 0);
      reportTrials(`read-your-writes, ${numBehind} of two replicas behind`, {
        ...{ reads: load.numReads, writes: load.numWrites, stale: load.stale.length },
        ...{ onReplicas: reads.replica / (reads.replica + reads.primary) },
      });
      expect(load.stale).toEqual([]);
      expect(load.failedReads).toEqual([]);
      expect(reads.replica).toBeGreaterThan(0);
    },
    timeFor(1, 300_000),
  );

  it('acknowledges a write without Redis only when no replica lacks it, and reads on the primary then', async () => {
    const reads: Reads = { primary: 0, replica: 0 };
    const stores = processStores(reads, 'redis://127.0.0.1:1');
    const [owner] = owners;
    if (owner === undefined) throw new Error('There is no owner.');
    const write = (): Promise<void> =>
      insertConversation(stores.primaryOf(owner.userId), {
        ...owner,
        conversationId: newConversationId(),
        ...{ model: 'm', region: 'local', systemPrompt: null, title: null },
      });
    await waitFor('a write is acknowledged', () =>
      write().then(
        () => true,
        () => false,
      ),
    );
    const db = await stores.readerOf(owner.userId, null);
    const before = await listConversations(db, owner.userId, null, 100);
    database.signal('postgres-3', 'SIGSTOP');
    try {
      await expect(write()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    } finally {
      database.signal('postgres-3', 'SIGCONT');
    }
    const again = await stores.readerOf(owner.userId, null);
    expect((await listConversations(again, owner.userId, null, 100)).length).toBe(
      before.length + 1,
    );
    expect(reads).toEqual({ primary: 2, replica: 0 });
    await everybodyFollows();
  }, 60_000);

  it(
    'loses nothing acknowledged and never fails a read when the primary is killed',
    async () => {
      const [gaps, slowest]: [number[], number[]] = [[], []];
      const reads: Reads = { primary: 0, replica: 0 };
      const stores = [processStores(reads), processStores(reads)];
      const paces = { numWriters: 4, numReaders: 4, writeEveryMs: 5, readEveryMs: 5 };
      let lost = 0;
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const load = new StoreLoad({ stores, owners, ...paces });
        await load.prepare();
        await everybodyFollows();
        load.start();
        await waitFor('the load runs', () => load.numWrites > 100 && load.numReads > 100);
        load.resetGap();
        const before = database.cluster.primary.name;
        await waitFor('a write is acknowledged', () => load.numWrites > 110);
        database.signal(before, 'SIGKILL');
        await waitFor(
          'another node is the primary',
          () => database.cluster.primary.name !== before,
        );
        const writes = load.numWrites;
        await waitFor('writes go on', () => load.numWrites > writes + 100, 30_000);
        await load.stop();
        const { name } = database.cluster.primary;
        for (const { conversationId, acknowledged } of load.conversations) {
          const found = await database.on(
            name,
            `select title from conversations where conversation_id = '${conversationId}'`,
          );
          if (Number(found[0]?.['title'] ?? -1) < acknowledged) lost += 1;
        }
        expect([load.stale, load.failedReads]).toEqual([[], []]);
        gaps.push(load.longestGapMs);
        slowest.push(load.longestReadMs);
      }
      reportTrials('primary killed under writes', {
        ...{ trials: TRIALS, lost, writeGapMs: spread(gaps), slowestReadMs: spread(slowest) },
        told: database.told,
      });
      expect(lost).toBe(0);
      expect(Math.max(...gaps)).toBeLessThan(15_000);
    },
    timeFor(TRIALS, 60_000),
  );

  it('takes the killed primary back as a standby, which refuses writes', async () => {
    await everybodyFollows();
    const former = database.cluster.nodes.find(
      ({ name }) => name !== database.cluster.primary.name,
    );
    await expect(
      database.on(former?.name ?? '', 'create table never (value int)'),
    ).rejects.toMatchObject({ code: '25006' });
  }, 60_000);

  it('writes on alone, and says so, when every standby hangs, and waits for one again when they are back', async () => {
    const standbys = database.cluster.nodes.filter(
      ({ name }) => name !== database.cluster.primary.name,
    );
    const stores = processStores({ primary: 0, replica: 0 });
    for (const { name } of standbys) database.signal(name, 'SIGSTOP');
    try {
      await waitFor('it is said', () =>
        database.told.some((line) => line.startsWith('No standby')),
      );
      expect(await isWritable(stores.directory)).toBe(true);
      await database.on(database.cluster.primary.name, 'create table alone (value int)');
      await expect(database.cluster.promote(null)).rejects.toThrow(/nobody can take over/);
    } finally {
      for (const { name } of standbys) database.signal(name, 'SIGCONT');
    }
    await everybodyFollows();
  }, 60_000);

  it('hands the role on by order, and starts with the same roles again', async () => {
    await waitFor('a standby has everything', () =>
      database.cluster.promote('postgres-3').then(
        (name) => name === 'postgres-3',
        () => false,
      ),
    );
    await database.on('postgres-3', 'create table by_order (value int)');
    await database.stop();
    database = await startReplicatedDatabase(1, database.home);
    expect(database.cluster.nodes.map(({ name }) => name)).toEqual(['postgres', 'postgres-3']);
    expect(database.cluster.primary.name).toBe('postgres-3');
    expect(await streamers()).toEqual(['postgres']);
    expect(await database.on('postgres', 'select * from by_order')).toEqual([]);
  }, 90_000);
});
