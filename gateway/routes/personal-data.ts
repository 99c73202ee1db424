// A person's data as a whole: taking it along, and having it deleted.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response, Router } from 'express';
import { noQuery } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import { isUuid } from '../../contracts/ids.ts';
import type { UserId } from '../../contracts/ids.ts';
import { isUserOf } from '../../postgres/erasure.ts';
import { profileOf } from '../../postgres/profile.ts';
import type { Stores } from '../../postgres/stores.ts';
import { principalOf } from '../authenticate.ts';
import type { GatewayDeps } from '../deps.ts';
import { exportPieces } from '../user-export.ts';
import { ownUserId } from './account.ts';

export function addPersonalDataRoutes(
  router: Router,
  { stores, erasure, logger }: GatewayDeps,
): void {
  router.get('/v1/users/:user/export', async (request, response) => {
    noQuery.parse(request.query);
    const userId = ownUserId(request, response);
    const profile = await profileOf(stores.directory, userId);
    if (profile === null) throw new AppError('USER_NOT_FOUND');
    const db = await stores.readerOf(userId, null);
    // The first piece before the status: a store that is away is told as it is everywhere.
    const pieces = exportPieces(db, profile);
    const first = await pieces.next();
    response.type('application/json');
    response.set({
      'Cache-Control': 'no-store, no-transform',
      'Content-Disposition': 'attachment; filename="colloquy-export.json"',
    });
    // A reader that is slow holds the reading up; one that leaves ends it.
    await pipeline(Readable.from(joined(first.value ?? '', pieces)), response).catch(
      (error: unknown) => {
        logger.info({ error, userId }, 'export interrupted');
      },
    );
  });

  router.delete('/v1/users/:user', async (request, response) => {
    const userId = await erasableUserId(stores, request, response);
    await erasure.eraseUser(userId);
    response.status(202).json({ user_id: userId, status: 'deleting' });
  });
}

async function* joined(first: string, rest: AsyncIterable<string>): AsyncGenerator<string> {
  yield first;
  yield* rest;
}

/** One's own account; of an organisation's users, for its administrators. @throws AppError USER_NOT_FOUND */
async function erasableUserId(
  stores: Stores,
  request: Request,
  response: Response,
): Promise<UserId> {
  const { userId, orgId, role } = principalOf(response);
  const asked = String(request.params['user']).toLowerCase();
  if (asked === userId) return userId;
  if (
    role !== 'admin' ||
    !isUuid(asked) ||
    !(await isUserOf(stores.directory, orgId, asked as UserId))
  )
    throw new AppError('USER_NOT_FOUND');
  return asked as UserId;
}
