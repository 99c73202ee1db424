// Request and token buckets on Redis, all-or-nothing on Redis's own clock.
import {
  limitBucketKey,
  limitReservationsKey,
  RESERVATION_TTL_MS,
} from '../contracts/redis-keys.ts';
import type { TurnId, UserId } from '../contracts/ids.ts';
import type { Limiter, LimitState, RateLimits, Reservation } from '../contracts/limiter.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';

export class RedisLimiter implements Limiter {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async reserve(
    userId: UserId,
    turnId: TurnId,
    tokens: number,
    limits: RateLimits,
  ): Promise<Reservation> {
    const { isGranted, state, waitMs } = await this.#run(userId, turnId, tokens, limits);
    return isGranted
      ? { isGranted, state }
      : { isGranted, state, retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) };
  }

  async peek(userId: UserId, limits: RateLimits): Promise<LimitState> {
    return (await this.#run(userId, '', 0, limits)).state;
  }

  async settle(
    userId: UserId,
    turnId: TurnId,
    usedTokens: number,
    limits: RateLimits,
  ): Promise<void> {
    await runScript(this.#redis, 'settle', keys(userId), [
      turnId,
      Math.ceil(usedTokens),
      limits.tokensPerMinute,
    ]);
  }

  async #run(
    userId: UserId,
    turnId: TurnId | '',
    tokens: number,
    limits: RateLimits,
  ): Promise<{ isGranted: boolean; state: LimitState; waitMs: number }> {
    const args = [
      turnId,
      Math.ceil(tokens),
      limits.requestsPerMinute,
      limits.tokensPerMinute,
      RESERVATION_TTL_MS,
    ];
    const [granted, requests, left, waitMs] = (await runScript(
      this.#redis,
      'reserve',
      keys(userId),
      args,
    )) as [number, number, number, number];
    const state = {
      requests: bucket(limits.requestsPerMinute, requests),
      tokens: bucket(limits.tokensPerMinute, left),
    };
    return { isGranted: granted === 1, state, waitMs };
  }
}

function bucket(limit: number, left: number): LimitState['requests'] {
  const remaining = Math.max(0, left);
  return {
    limit,
    remaining,
    resetSeconds: Math.ceil(((limit - Math.min(limit, left)) * 60) / limit),
  };
}

function keys(userId: UserId): [string, string] {
  return [limitBucketKey(userId), limitReservationsKey(userId)];
}
