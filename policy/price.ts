// What a turn costs. Cached prompt tokens have their own price; nanodollars avoid the drift of repeated doubles.
import type { CatalogModel } from '../contracts/catalog.ts';
import type { TokenUsage } from '../contracts/turn-facts.ts';

/** USD for a turn, exact to nine decimals. Prices are USD per million tokens, cached tokens are part of the prompt. */
export function costUsd(usage: TokenUsage, prices: CatalogModel['prices']): number {
  const fresh = usage.promptTokens - usage.cachedTokens;
  const perMillion =
    fresh * prices.input +
    usage.cachedTokens * prices.cached_input +
    usage.completionTokens * prices.output;
  return Math.round(perMillion * 1000) / 1e9;
}
