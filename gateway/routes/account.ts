// What belongs to the caller rather than to a conversation: models, usage.
import type { Request, Response, Router } from 'express';
import { noQuery } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import type { UserId } from '../../contracts/ids.ts';
import { usageOf } from '../../postgres/usage.ts';
import { principalOf } from '../authenticate.ts';
import type { GatewayDeps } from '../deps.ts';
import { wireUsageReport } from '../wire.ts';

export function addAccountRoutes(router: Router, { stores, catalog }: GatewayDeps): void {
  router.get('/v1/models', (request, response) => {
    noQuery.parse(request.query);
    const { tier } = principalOf(response);
    const visible = Object.entries(catalog.models).filter(([, model]) =>
      model.tiers.includes(tier),
    );
    response.json({
      models: visible.map(([id, { tiers, pool, reasoning, prices }]) => ({
        id,
        tiers,
        context_length: catalog.pools[pool]?.context_length ?? 0,
        reasoning,
        prices,
      })),
    });
  });

  router.get('/v1/usage', async (request, response) => {
    noQuery.parse(request.query);
    const { userId } = principalOf(response);
    response.json(wireUsageReport(await usageOf(await stores.readerOf(userId, null), userId)));
  });
}

/** Only one's own data exists; `me` is the caller, whoever that is. @throws AppError USER_NOT_FOUND */
export function ownUserId(request: Request, response: Response): UserId {
  const { userId } = principalOf(response);
  const named = String(request.params['user']).toLowerCase();
  if (named !== userId && named !== 'me') throw new AppError('USER_NOT_FOUND');
  return userId;
}
