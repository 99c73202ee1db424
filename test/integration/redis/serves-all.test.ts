// Readiness asks every shard: a cluster with one silent primary serves two thirds of the turns, and that is not ready.
import { connectRedis, isCluster, servesAll } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { projectPath } from '../../../process/paths.ts';
import { services } from '../../helpers/services.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const connect = (url: string): Redis =>
  connectRedis({
    url,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
    answerMs: 200,
  });

it('is true of a single node and of a cluster that answer', async () => {
  for (const url of [services().redisUrl, services().redisClusterUrl]) {
    const redis = connect(url);
    expect(await servesAll(redis)).toBe(true);
    redis.disconnect();
  }
});

it('is not true of a cluster while one of its primaries does not answer', async () => {
  const [redis, observer] = [
    connect(services().redisClusterUrl),
    connect(services().redisClusterUrl),
  ];
  const serves = (): Promise<boolean> => servesAll(observer).catch(() => false);
  expect(await serves()).toBe(true);
  if (!isCluster(redis)) throw new Error('It is not a cluster.');
  await redis.ping();
  const [, paused] = redis.nodes('master');
  await paused?.call('CLIENT', 'PAUSE', '1500', 'ALL');
  expect(await serves()).toBe(false);
  await waitFor('all answer again', serves);
  redis.disconnect();
  observer.disconnect();
});
