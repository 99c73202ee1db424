// x-ratelimit-* on every answer to an authenticated caller.
import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
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

interface LimitDeps {
  readonly limiter: Limiter;
  readonly catalog: Catalog;
  readonly logger: Logger;
}

/** Looks, takes nothing. Without Redis the headers are left out: reading works all the same. */
export async function showRateLimits(deps: LimitDeps, response: Response): Promise<void> {
  const { userId, tier } = principalOf(response);
  try {
    setRateLimitHeaders(response, await deps.limiter.peek(userId, limitsOf(deps.catalog, tier)));
  } catch (error) {
    deps.logger.warn({ error }, 'rate limits cannot be read');
  }
}

/** Below /v1. A turn reserves, and that answer has the same figures: it is not asked twice. */
export function rateLimitsFirst(deps: LimitDeps): RequestHandler {
  return async (request, response, next) => {
    const reserves =
      request.method === 'POST' && /^\/conversations\/[^/]+\/turns$/.test(request.path);
    if (!reserves) await showRateLimits(deps, response);
    next();
  };
}

/** A turn that was refused before it could reserve. */
export function rateLimitsOfRefusal(deps: LimitDeps): ErrorRequestHandler {
  return async (error: unknown, _request, response, next) => {
    const isKnown = response.locals['principal'] !== undefined;
    if (isKnown && !response.headersSent && !response.hasHeader('x-ratelimit-limit-requests'))
      await showRateLimits(deps, response);
    next(error);
  };
}
