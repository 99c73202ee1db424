// What belongs to the caller rather than to a conversation: memory, models, usage.
import type { Request, Response, Router } from 'express';
import { changeMemoryBody, noQuery } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import { isUuid } from '../../contracts/ids.ts';
import type { UserId } from '../../contracts/ids.ts';
import { changeFacts, listFacts } from '../../postgres/memory-facts.ts';
import type { StoredFact } from '../../postgres/memory-facts.ts';
import { usageOf } from '../../postgres/usage.ts';
import type { UsageTotals } from '../../postgres/usage.ts';
import { principalOf } from '../authenticate.ts';
import type { GatewayDeps } from '../deps.ts';

export function addAccountRoutes(router: Router, { stores, catalog }: GatewayDeps): void {
  router.get('/v1/users/:user/memory', async (request, response) => {
    const userId = ownUserId(request, response);
    response.json(wireFacts(await listFacts(await stores.readerOf(userId, null), userId)));
  });

  router.patch('/v1/users/:user/memory', async (request, response) => {
    const { add = [], remove = [] } = changeMemoryBody.parse(request.body);
    const userId = ownUserId(request, response);
    response.json(
      wireFacts(await changeFacts(stores.primaryOf(userId), userId, add, remove.filter(isUuid))),
    );
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
    const report = await usageOf(await stores.readerOf(userId, null), userId);
    response.json({
      ...wireTotals(report),
      by_model: report.byModel.map((each) => ({ model: each.model, ...wireTotals(each) })),
      by_day: report.byDay.map((each) => ({ day: each.day, ...wireTotals(each) })),
    });
  });
}

/** Only one's own memory exists. @throws AppError USER_NOT_FOUND */
function ownUserId(request: Request, response: Response): UserId {
  const { userId } = principalOf(response);
  if (String(request.params['user']).toLowerCase() !== userId) throw new AppError('USER_NOT_FOUND');
  return userId;
}

function wireFacts(facts: readonly StoredFact[]): object {
  return {
    facts: facts.map(({ factId, text, createdAt }) => ({
      fact_id: factId,
      text,
      created_at: createdAt.toISOString(),
    })),
  };
}

function wireTotals({
  promptTokens,
  completionTokens,
  cachedTokens,
  costUsd,
}: UsageTotals): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    cached_tokens: cachedTokens,
    cost_usd: costUsd,
  };
}
