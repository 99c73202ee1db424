// Leases on a real Valkey: who is lost, what it ran, and when nobody is.
import { LAST_BEAT_KEY, LEASED_TASKS_KEY, LEASES_KEY } from '../../../contracts/redis-keys.ts';
import type { LeasedTask, LostProcess } from '../../../contracts/process-leases.ts';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { ProcessLeases } from '../../../redis/process-leases.ts';
import { services } from '../../helpers/services.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const KEYS = [LEASES_KEY, LEASED_TASKS_KEY, LAST_BEAT_KEY];
const task = (name: string): LeasedTask => ({
  token: name,
  workflowId: 'w',
  runId: 'r',
  activityId: 'a',
});

let redis: Redis;
const started: ProcessLeases[] = [];

beforeAll(() => {
  redis = connectRedis({
    url: services().redisUrl,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
  });
});
afterEach(async () => {
  for (const each of started.splice(0)) await each.stop();
  await redis.del(...KEYS);
});
afterAll(() => redis.disconnect());

function start(process: string | null): { leases: ProcessLeases; lost: LostProcess[] } {
  const lost: LostProcess[] = [];
  const leases = new ProcessLeases({
    redis,
    process,
    onLost: async (each) => void lost.push(each),
    onError: (error) => {
      throw error;
    },
  });
  leases.start();
  started.push(leases);
  return { leases, lost };
}

/** A process that beat once and then no more, with one task in hand. */
async function die(process: string, tasks: readonly string[]): Promise<void> {
  await redis.zadd(LEASES_KEY, 1, process);
  for (const [index, name] of tasks.entries())
    await redis.hset(LEASED_TASKS_KEY, `${process} ${index}`, JSON.stringify(task(name)));
}

describe('ProcessLeases', () => {
  it('names a lost process and its tasks to one watcher once, and then forgets both', async () => {
    const watchers = [start(null), start(null), start('peer')];
    await die('dead', ['one', 'two']);
    await redis.hset(LEASED_TASKS_KEY, 'other 1', JSON.stringify(task('not its own')));
    await waitFor('it is forgotten', async () => (await redis.zscore(LEASES_KEY, 'dead')) === null);
    const heard = watchers.flatMap(({ lost }) => lost);
    expect(heard).toHaveLength(1);
    expect(heard[0]?.process).toBe('dead');
    expect(heard[0]?.tasks.map(({ token }) => token).sort()).toEqual(['one', 'two']);
    expect(await redis.hkeys(LEASED_TASKS_KEY)).toEqual(['other 1']);
  });

  it('loses no process that stops in order or that goes on renewing', async () => {
    const [watches, renews, stops] = [start(null), start('renews'), start('stops')];
    // Whoever beats first after a loss is the one that hears of it.
    const heard = (): LostProcess[] => [watches, renews, stops].flatMap(({ lost }) => lost);
    renews.leases.hold(task('kept'));
    stops.leases.hold(task('dropped'));
    await stops.leases.stop();
    await die('dead', []);
    await waitFor('the dead one is heard of', () => heard().length > 0);
    expect(heard().map(({ process }) => process)).toEqual(['dead']);
    expect(Object.values(await redis.hgetall(LEASED_TASKS_KEY))).toEqual([
      JSON.stringify(task('kept')),
    ]);
  });

  it('tells again what it runs when Redis has lost everything', async () => {
    const { leases } = start('renews');
    leases.hold(task('kept'));
    await waitFor(
      'it has its lease',
      async () => (await redis.zscore(LEASES_KEY, 'renews')) !== null,
    );
    await redis.del(...KEYS);
    await waitFor('its task is known again', async () =>
      (await redis.hvals(LEASED_TASKS_KEY)).includes(JSON.stringify(task('kept'))),
    );
  });

  it('forgets a finished task and keeps a running one', async () => {
    const { leases } = start('works');
    const release = leases.hold(task('finished'));
    leases.hold(task('running'));
    release();
    await waitFor('only the running one is left', async () => {
      const left = await redis.hvals(LEASED_TASKS_KEY);
      return left.length === 1 && left[0] === JSON.stringify(task('running'));
    });
  });

  it('counts a standstill of Redis itself against nobody', async () => {
    const { lost } = start(null);
    await waitFor('it beats', async () => (await redis.get(LAST_BEAT_KEY)) !== null);
    // What a Redis that stood still for ten seconds finds when it wakes: old leases, and an old last beat of anybody.
    const now = Date.now();
    await redis
      .multi()
      .zadd(LEASES_KEY, now - 9000, 'alive')
      .set(LAST_BEAT_KEY, now - 10_000)
      .exec();
    await waitFor(
      'its lease is renewed',
      async () => Number(await redis.zscore(LEASES_KEY, 'alive')) > now,
    );
    expect(lost).toEqual([]);
    await redis.zrem(LEASES_KEY, 'alive');
  });

  it('leaves no key that would stay for ever', async () => {
    start('works').leases.hold(task('running'));
    await waitFor('all keys are there', async () => (await redis.exists(...KEYS)) === KEYS.length);
    await waitFor('and expire', async () => {
      const ttls = await Promise.all(KEYS.map((key) => redis.pttl(key)));
      return ttls.every((ttl) => ttl > 0);
    });
  });
});
