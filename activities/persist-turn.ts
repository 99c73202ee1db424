// The end of a turn: seal its log, store what the log delivered, then tell the readers. `end` is written only after
// the commit, and the log is the only source of the text, so what is stored is exactly what was delivered.
import { closingEntries, toWireUsage } from '../contracts/closing-entries.ts';
import type { ConversationCache } from '../contracts/conversation-cache.ts';
import { AppError } from '../contracts/errors.ts';
import type { Catalog } from '../contracts/catalog.ts';
import { ZERO_USAGE } from '../contracts/turn-facts.ts';
import type { TurnEntry } from '../contracts/turn-events.ts';
import type { ClaimedLog, TurnLogWriter } from '../contracts/turn-log.ts';
import type { PersistInput, PersistResult } from '../contracts/turn-workflow.ts';
import type { Stores } from '../postgres/stores.ts';
import { storedClosing } from '../postgres/stored-closing.ts';
import { closeRequest } from '../postgres/turn-requests.ts';
import { findReplies, storeAssistantTurn } from '../postgres/turns.ts';
import type { Logger } from '../process/logger.ts';
import type { Metrics } from '../process/metrics.ts';
import { deliveredReplies } from './delivered-replies.ts';
import { endedReplies, totalOf } from './ended-replies.ts';
import { continuationOf } from './recalled-log.ts';

const NO_PRICES = { input: 0, cached_input: 0, output: 0 };

interface PersistDeps {
  readonly stores: Stores;
  readonly turnLog: TurnLogWriter;
  readonly cache: ConversationCache;
  readonly catalog: Catalog;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/**
 * Idempotent: a repeat finds the stored turn and only makes sure that the log is closed.
 * @throws AppError TURN_LOG_LOST when the log, or the end of it, is gone though tokens were generated and nothing is stored
 */
export async function persistTurn(deps: PersistDeps, input: PersistInput): Promise<PersistResult> {
  const { turnId, conversationId } = input.turn;
  const sealed = await deps.turnLog.seal(turnId, input.lastEntry ?? 0);
  const isGone = sealed === 'missing' || sealed === 'short';
  if (isGone || sealed.isEnded) {
    const stored = await alreadyStored(deps, input, sealed);
    if (stored !== null) return stored;
    if ((input.usage?.completionTokens ?? 0) > 0) throw new AppError('TURN_LOG_LOST');
  }
  const entries = isGone ? [] : sealed.entries;
  const continuation = continuationOf(entries);
  const replies = deliveredReplies(entries, input.turn.numSamples ?? 1);
  const prices = deps.catalog.models[input.route.model]?.prices ?? NO_PRICES;
  const ended = endedReplies(replies, input, prices);
  const result = totalOf(ended);
  const { verdict, errorCode } = input;
  const closing = closingEntries({
    samples: ended.map((each) => ({ ...each, usage: toWireUsage(each.usage, each.costUsd) })),
    errorCode,
    verdict,
  });
  const stored = await storeAssistantTurn(deps.stores.primaryOf(input.turn.userId), {
    turnId,
    ...input.route,
    ...result,
    verdict,
    continuation,
    samples: ended.map((each) => ({
      ...each,
      streamOffsets: [...each.streamOffsets, ...closing.map(() => each.content.length)],
    })),
  });
  if (stored === null) return dropDeleted(deps, input, closing, result);
  // Not awaited: readers are told at once, and an entry that is behind is only read again.
  if (stored.version !== null)
    void deps.cache
      .append(conversationId, stored.version, stored.turns)
      .catch((error: unknown) => deps.logger.debug({ error, turnId }, 'a turn was not cached'));
  await deps.turnLog.end(turnId, closing);
  deps.metrics.turns.inc({
    outcome: result.finishReason,
    tier: input.turn.tier,
    pool: input.route.pool,
  });
  deps.logger.info(
    {
      turnId,
      conversationId,
      outcome: result.finishReason,
      code: input.errorCode ?? undefined,
      pool: input.route.pool,
      continuation: continuation ?? undefined,
      numSamples: ended.length > 1 ? ended.length : undefined,
      ...result.usage,
    },
    'turn ended',
  );
  return result;
}

/** The conversation was deleted while its turn ran: nothing of the turn may stay. */
async function dropDeleted(
  deps: PersistDeps,
  input: PersistInput,
  closing: readonly TurnEntry[],
  result: PersistResult,
): Promise<PersistResult> {
  await deps.turnLog.end(input.turn.turnId, closing); // Readers that are still there get their end.
  await deps.turnLog.remove(input.turn.turnId);
  await closeRequest(deps.stores.primaryOf(input.turn.userId), input.turn.turnId);
  deps.logger.info({ turnId: input.turn.turnId }, 'turn of a deleted conversation dropped');
  return { finishReason: result.finishReason, usage: ZERO_USAGE, costUsd: 0 };
}

/** The result of an earlier attempt whose answer was lost after its commit; its readers hear of their end. */
async function alreadyStored(
  deps: PersistDeps,
  input: PersistInput,
  sealed: ClaimedLog | 'short' | 'missing',
): Promise<PersistResult | null> {
  const { turnId, conversationId, userId } = input.turn;
  const stored = await findReplies(deps.stores.primaryOf(userId), conversationId, turnId);
  if (stored.length === 0 || stored.some(({ usage }) => usage === null)) return null;
  await deps.stores.wrote(userId);
  // An end behind half of a text would be read as the text's own: without a log, readers are sent to the store.
  if (sealed === 'short') await deps.turnLog.remove(turnId);
  await deps.turnLog.end(turnId, storedClosing(stored));
  return totalOf(
    stored.map(({ usage, finishReason }) => ({
      finishReason: finishReason ?? input.finishReason,
      costUsd: usage?.cost_usd ?? 0,
      usage: {
        promptTokens: usage?.prompt_tokens ?? 0,
        completionTokens: usage?.completion_tokens ?? 0,
        cachedTokens: usage?.cached_tokens ?? 0,
      },
    })),
  );
}
