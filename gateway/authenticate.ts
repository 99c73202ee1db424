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
  const lookUp = async (hash: Buffer): Promise<Principal | null> => {
    const key = hash.toString('base64');
    const known = cache.get(key);
    if (known !== undefined && known.until > Date.now()) return known.principal;
    const principal = await find(hash);
    if (cache.size >= MAX_CACHED) cache.clear();
    cache.set(key, { principal, until: Date.now() + CACHE_MS });
    return principal;
  };
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    const hash = tokenHash(request);
    const principal = hash === null ? null : await lookUp(hash);
    if (principal === null) {
      response.set('WWW-Authenticate', 'Bearer');
      throw new AppError('UNAUTHENTICATED');
    }
    response.locals['principal'] = principal;
    response.locals['keyHash'] = hash;
    next();
  };
}

/** Of several headers none is the caller's: whoever stands before us may have read another one. */
function tokenHash(request: Request): Buffer | null {
  const [header = '', ...more] = request.headersDistinct['authorization'] ?? [];
  const token = more.length === 0 ? BEARER.exec(header)?.[1] : undefined;
  return token === undefined ? null : createHash('sha256').update(token).digest();
}

/** The caller. @throws AppError UNAUTHENTICATED on a route that forgot to ask */
export function principalOf(response: Response): Principal {
  const principal = response.locals['principal'] as Principal | undefined;
  if (principal === undefined) throw new AppError('UNAUTHENTICATED');
  return principal;
}

/** SHA-256 of the caller's token. @throws as principalOf */
export function keyHashOf(response: Response): Buffer {
  const hash = response.locals['keyHash'] as Buffer | undefined;
  if (hash === undefined) throw new AppError('UNAUTHENTICATED');
  return hash;
}
