// The one code path for credentials: `Authorization: Bearer`, looked up by hash, believed for a moment.
import { createHash } from 'node:crypto';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { AppError } from '../contracts/errors.ts';
import type { Principal } from '../contracts/turn-request.ts';

/** A revoked key is refused within this. */
const CACHE_MS = 1500;
const MAX_CACHED = 10_000;
/** RFC 6750 §2.1, with a bound on its length. */
const BEARER = /^Bearer ([A-Za-z0-9._~+/=-]{1,512})$/i;

export function createAuthenticator(
  find: (keyHash: Buffer) => Promise<Principal | null>,
): RequestHandler {
  const cache = new Map<string, { principal: Principal | null; until: number }>();
  const lookUp = async (token: string): Promise<Principal | null> => {
    const hash = createHash('sha256').update(token).digest();
    const key = hash.toString('base64');
    const known = cache.get(key);
    if (known !== undefined && known.until > Date.now()) return known.principal;
    const principal = await find(hash);
    if (cache.size >= MAX_CACHED) cache.clear();
    cache.set(key, { principal, until: Date.now() + CACHE_MS });
    return principal;
  };
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    const token = BEARER.exec(request.get('authorization') ?? '')?.[1];
    const principal = token === undefined ? null : await lookUp(token);
    if (principal === null) {
      response.set('WWW-Authenticate', 'Bearer');
      throw new AppError('UNAUTHENTICATED');
    }
    response.locals['principal'] = principal;
    next();
  };
}

/** The caller. @throws AppError UNAUTHENTICATED on a route that forgot to ask */
export function principalOf(response: Response): Principal {
  const principal = response.locals['principal'] as Principal | undefined;
  if (principal === undefined) throw new AppError('UNAUTHENTICATED');
  return principal;
}
