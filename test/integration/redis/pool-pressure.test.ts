import { randomUUID } from 'node:crypto';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { leastWaiting, publishPressure } from '../../../redis/pool-pressure.ts';
import { services } from '../../helpers/services.ts';
import type { EngineStats } from '../../../contracts/engine.ts';

const waiting = (count: number): EngineStats => ({ waiting: count }) as EngineStats;

describe.each([
  ['one node', () => services().redisUrl],
  ['a cluster', () => services().redisClusterUrl],
])('pool pressure on %s', (_name, url) => {
  let redis: Redis;
  beforeAll(() => {
    redis = connectRedis({
      url: url(),
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
  });
  afterAll(() => redis.disconnect());

  it('is that of the least busy worker, and unknown for a pool whose workers say nothing', async () => {
    const pool = `pool-${randomUUID()}`;
    expect(await leastWaiting(redis, pool)).toBeNull();
    await publishPressure(redis, pool, 'one', waiting(7));
    await publishPressure(redis, pool, 'other', waiting(3));
    expect(await leastWaiting(redis, pool)).toBe(3);
  });
});
