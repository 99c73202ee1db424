// x-ratelimit-* on every answer to an authenticated caller.
import type { RequestHandler, Response } from 'express';
import type { Catalog } from '../contracts/catalog.ts';
import type { Limiter, LimitState, RateLimits } from '../contracts/limiter.ts';
import type { Tier } from '../contracts/turn-facts.ts';
import type { Logger } from '../process/logger.ts';
import { principalOf } from './authenticate.ts';

export function limitsOf(catalog: Catalog, tier: Tier): RateLimits {
  const row = catalog.tiers[tier];
  return { requestsPerMinute: row.requests_per_minute, tokensPerMinute: row.tokens_per_minute };
}

export function setRateLimitHeaders(response: Response, { requests, tokens }: LimitState): void {
  for (const [name, bucket] of [
    ['requests', requests],
    ['tokens', tokens],
  ] as const) {
    response.set(`x-ratelimit-limit-${name}`, String(bucket.limit));
    response.set(`x-ratelimit-remaining-${name}`, String(bucket.remaining));
    response.set(`x-ratelimit-reset-${name}`, String(bucket.resetSeconds));
  }
}

/** Looks, takes nothing. Without Redis the headers are left out: reading works all the same. */
export function showRateLimits(limiter: Limiter, catalog: Catalog, logger: Logger): RequestHandler {
  return async (_request, response, next) => {
    const { userId, tier } = principalOf(response);
    try {
      setRateLimitHeaders(response, await limiter.peek(userId, limitsOf(catalog, tier)));
    } catch (error) {
      logger.warn({ error }, 'rate limits cannot be read');
    }
    next();
  };
}
