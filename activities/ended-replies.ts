// From what was delivered of a turn's replies to what is stored and billed of them. Pure.
import type { CatalogModel } from '../contracts/catalog.ts';
import { sampleTurnId } from '../contracts/samples.ts';
import { ZERO_USAGE } from '../contracts/turn-facts.ts';
import type { PersistInput, PersistResult } from '../contracts/turn-workflow.ts';
import { costUsd } from '../policy/price.ts';
import type { EndedSample } from '../postgres/turns.ts';
import type { DeliveredReply } from './delivered-replies.ts';

/** The prompt was computed once: it is the first reply's, and the usages of all add up to the turn's. */
export function endedReplies(
  replies: readonly DeliveredReply[],
  input: PersistInput,
  prices: CatalogModel['prices'],
): EndedSample[] {
  return replies.map((reply, index) => {
    const { text, numTokens, offsets } = reply;
    const finishReason = reply.finishReason ?? input.finishReason;
    const prompt = (index === 0 ? input.usage : null) ?? ZERO_USAGE;
    const usage = { ...prompt, completionTokens: numTokens };
    return {
      turnId: sampleTurnId(input.turn.turnId, index),
      content: text,
      finishReason,
      errorCode: finishReason === 'error' ? input.errorCode : null,
      usage,
      costUsd: costUsd(usage, prices),
      streamOffsets: offsets,
    };
  });
}

/** The turn as a whole: what it used, and the reason of a reply that did not end by itself, else the first one's. */
export function totalOf(
  replies: readonly Pick<EndedSample, 'finishReason' | 'usage' | 'costUsd'>[],
): PersistResult {
  const sum = (valueOf: (reply: (typeof replies)[number]) => number): number =>
    replies.reduce((total, each) => total + valueOf(each), 0);
  const [first] = replies;
  const cut = replies.find(({ finishReason }) => !isOwnEnd(finishReason));
  return {
    finishReason: (cut ?? first)?.finishReason ?? 'error',
    usage: {
      promptTokens: sum(({ usage }) => usage.promptTokens),
      completionTokens: sum(({ usage }) => usage.completionTokens),
      cachedTokens: sum(({ usage }) => usage.cachedTokens),
    },
    // In nanodollars, whose sums are exact.
    costUsd: sum((each) => Math.round(each.costUsd * 1e9)) / 1e9,
  };
}

function isOwnEnd(finishReason: EndedSample['finishReason']): boolean {
  return finishReason === 'stop' || finishReason === 'length';
}
