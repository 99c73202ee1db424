// What belongs to the caller rather than to a conversation: memory, models, usage.
import type { Request, Response, Router } from 'express';
import { changeMemoryBody, noQuery } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import { isUuid } from '../../contracts/ids.ts';
import type { UserId } from '../../contracts/ids.ts';
import { changeFacts, listFacts } from '../../postgres/memory-facts.ts';
import { usageOf } from '../../postgres/usage.ts';
import { principalOf } from '../authenticate.ts';
import type { GatewayDeps } from '../deps.ts';
import { wireFacts, wireUsageReport } from '../wire.ts';

export function addAccountRoutes(router: Router, { stores, catalog }: GatewayDeps): void {
  router.get('/v1/users/:user/memory', async (request, response) => {
    const userId = ownUserId(request, response);
    response.json({ facts: wireFacts(await listFacts(stores.primaryOf(userId), userId)) });
  });

  router.patch('/v1/users/:user/memory', async (request, response) => {
    const { add = [], remove = [] } = changeMemoryBody.parse(request.body);
    const userId = ownUserId(request, response);
    const db = stores.primaryOf(userId);
    response.json({ facts: wireFacts(await changeFacts(db, userId, add, remove.filter(isUuid))) });
  });

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
    response.json(wireUsageReport(await usageOf(stores.primaryOf(userId), userId)));
  });
}

/** Only one's own data exists. @throws AppError USER_NOT_FOUND */
export function ownUserId(request: Request, response: Response): UserId {
  const { userId } = principalOf(response);
  if (String(request.params['user']).toLowerCase() !== userId) throw new AppError('USER_NOT_FOUND');
  return userId;
}
