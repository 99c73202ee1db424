// How busy a pool is, as its workers say twice a second; gateways shed free turns by it.
import { poolPressureKey, PRESSURE_TTL_MS } from '../contracts/redis-keys.ts';
import type { EngineStats } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import type { Redis } from './connection.ts';

/** @param worker distinguishes the pool's workers */
export async function publishPressure(
  redis: Redis,
  pool: string,
  worker: string,
  stats: EngineStats,
): Promise<void> {
  const key = poolPressureKey(pool);
  await redis
    .pipeline()
    .hset(key, worker, `${stats.waiting}:${Date.now()}`)
    .pexpire(key, PRESSURE_TTL_MS * 5)
    .exec();
}

/** Sequences waiting in the pool's least busy worker; null when no worker has spoken lately. */
export async function leastWaiting(redis: Redis, pool: string): Promise<number | null> {
  const said = await redis.hgetall(poolPressureKey(pool)).catch((error: unknown) => {
    throw new AppError('STREAM_UNAVAILABLE', { cause: error });
  });
  const fresh = Object.values(said)
    .map((value) => value.split(':').map(Number))
    .filter(([, at]) => at !== undefined && Date.now() - at < PRESSURE_TTL_MS)
    .map(([waiting]) => waiting ?? 0);
  return fresh.length === 0 ? null : Math.min(...fresh);
}
