// What belongs to the caller rather than to a conversation: models, usage.
import type { Router } from 'express';
import { noQuery } from '../../contracts/api.ts';
import { usageOf } from '../../postgres/usage.ts';
import type { UsageTotals } from '../../postgres/usage.ts';
import { principalOf } from '../authenticate.ts';
import type { GatewayDeps } from '../deps.ts';

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
    const report = await usageOf(await stores.readerOf(userId, null), userId);
    response.json({
      ...wireTotals(report),
      by_model: report.byModel.map((each) => ({ model: each.model, ...wireTotals(each) })),
      by_day: report.byDay.map((each) => ({ day: each.day, ...wireTotals(each) })),
    });
  });
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
