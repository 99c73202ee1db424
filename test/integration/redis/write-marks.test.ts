import { randomUUID } from 'node:crypto';
import type { UserId } from '../../../contracts/ids.ts';
import { WRITE_MARK_TTL_MS, writeMarkKey } from '../../../contracts/redis-keys.ts';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { RedisWriteMarks } from '../../../redis/write-marks.ts';
import { services } from '../../helpers/services.ts';
import { waitFor } from '../../helpers/wait-for.ts';

let redis: Redis;
let marks: RedisWriteMarks;

/** Marks are shared by owners, so a test has a database of its own. */
const fresh = (): [string, UserId] => [`test-${randomUUID()}`, randomUUID() as UserId];

/** As if the mark were so much older. */
const age = (database: string, user: UserId, ms: number) =>
  redis.hincrby(writeMarkKey(database, user), 'born', -ms);

describe.each([
  ['one node', () => services().redisUrl],
  ['a cluster', () => services().redisClusterUrl],
])('RedisWriteMarks on %s', (_name, url) => {
  beforeAll(() => {
    redis = connectRedis({
      url: url(),
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    marks = new RedisWriteMarks(redis);
  });
  afterAll(() => redis.disconnect());

  it('moves forward only, by timeline first, and keeps its age', async () => {
    const [database, user] = fresh();
    await marks.remember(database, user, { timeline: 1, lsn: 4_294_967_297 });
    await age(database, user, 5000);
    for (const earlier of [
      { timeline: 1, lsn: 4_294_967_296 },
      { timeline: 0, lsn: 9_000_000_000_000 },
    ])
      await marks.remember(database, user, earlier);
    expect((await marks.recall(database, user)).position).toEqual({
      timeline: 1,
      lsn: 4_294_967_297,
    });
    await marks.remember(database, user, { timeline: 2, lsn: 7 });
    const { position, ageMs } = await marks.recall(database, user);
    expect(position).toEqual({ timeline: 2, lsn: 7 });
    expect(ageMs).toBeGreaterThan(4900);
  });

  it('begins anew when it is asked for and not there, also after it was lost', async () => {
    const [database, user] = fresh();
    expect(await marks.recall(database, user)).toEqual({ ageMs: 0, position: null });
    await age(database, user, 5000);
    expect((await marks.recall(database, user)).ageMs).toBeGreaterThan(4900);
    await redis.del(writeMarkKey(database, user));
    expect((await marks.recall(database, user)).ageMs).toBeLessThan(4900);
  });

  it('begins anew with a write whose position is not known', async () => {
    const [database, user] = fresh();
    await marks.remember(database, user, { timeline: 1, lsn: 10 });
    await age(database, user, 5000);
    await marks.remember(database, user, null);
    const { position, ageMs } = await marks.recall(database, user);
    expect(position).toEqual({ timeline: 1, lsn: 10 });
    expect(ageMs).toBeLessThan(4900);
  });

  it('is not forgotten while it is asked for, and is when nobody does', async () => {
    const [database, user] = fresh();
    const key = writeMarkKey(database, user);
    await marks.recall(database, user);
    await redis.pexpire(key, 1000);
    await marks.recall(database, user);
    expect(await redis.pttl(key)).toBeGreaterThan(WRITE_MARK_TTL_MS / 2);
    await redis.pexpire(key, 1);
    await waitFor('it is gone', async () => (await redis.exists(key)) === 0);
  });

  it('says that it does not answer as every other use of Redis does', async () => {
    const away = connectRedis({
      url: 'redis://127.0.0.1:1',
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    const [database, user] = fresh();
    await expect(new RedisWriteMarks(away).recall(database, user)).rejects.toMatchObject({
      code: 'STREAM_UNAVAILABLE',
    });
    away.disconnect();
  });
});
