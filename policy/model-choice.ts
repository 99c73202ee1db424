// Which model answers a turn: pure, total and deterministic over (tier, request, conversation, catalogue).
import type { Catalog } from '../contracts/catalog.ts';
import { poolTaskQueue } from '../contracts/catalog.ts';
import type { Tier } from '../contracts/turn-facts.ts';
import type { RouteDecision } from '../contracts/turn-workflow.ts';

export interface ModelWish {
  readonly tier: Tier;
  /** Named in the request, else null. */
  readonly requestedModel: string | null;
  /** The conversation's model. */
  readonly conversationModel: string | null;
  readonly reasoning: boolean;
}

export type ModelChoice =
  | { readonly isAllowed: true; readonly route: RouteDecision }
  /** `unknown` is a 400, `forbidden` a 403. */
  | { readonly isAllowed: false; readonly why: 'unknown' | 'forbidden'; readonly message: string };

/** The request's model wins over the conversation's, that over the tier's default; `reasoning` asks for the tier's reasoning model. */
export function chooseModel(wish: ModelWish, catalog: Catalog): ModelChoice {
  const tier = catalog.tiers[wish.tier];
  if (wish.requestedModel !== null && !(wish.requestedModel in catalog.models)) {
    return {
      isAllowed: false,
      why: 'unknown',
      message: 'The model is not in the catalogue; see GET /v1/models.',
    };
  }
  if (wish.reasoning && tier.reasoning_model === null) {
    return {
      isAllowed: false,
      why: 'forbidden',
      message: `Reasoning is not part of the ${wish.tier} tier.`,
    };
  }
  const [id, reason] = candidate(wish, catalog);
  const model = catalog.models[id];
  if (model === undefined) {
    return {
      isAllowed: false,
      why: 'unknown',
      message: 'The conversation’s model is no longer in the catalogue.',
    };
  }
  if (!model.tiers.includes(wish.tier)) {
    return {
      isAllowed: false,
      why: 'forbidden',
      message: `The ${wish.tier} tier may not use this model.`,
    };
  }
  const route = {
    pool: model.pool,
    taskQueue: poolTaskQueue(model.pool),
    model: id,
    servedModel: model.served_model,
    priority: tier.priority,
    reason,
  };
  return { isAllowed: true, route };
}

function candidate(wish: ModelWish, catalog: Catalog): [model: string, reason: string] {
  const tier = catalog.tiers[wish.tier];
  if (
    wish.requestedModel !== null &&
    !(wish.reasoning && catalog.models[wish.requestedModel]?.reasoning === false)
  ) {
    return [wish.requestedModel, 'named by the request'];
  }
  if (wish.reasoning && tier.reasoning_model !== null)
    return [tier.reasoning_model, `reasoning model of tier ${wish.tier}`];
  if (wish.conversationModel !== null) return [wish.conversationModel, 'model of the conversation'];
  return [tier.default_model, `default of tier ${wish.tier}`];
}
