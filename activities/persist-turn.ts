// The end of a turn: seal its log, store what the log delivered, then tell the readers. `end` is written only after
// the commit, and the log is the only source of the text, so what is stored is exactly what was delivered.
import { closingEntries, toWireUsage } from '../contracts/closing-entries.ts';
import { AppError } from '../contracts/errors.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { TokenUsage } from '../contracts/turn-facts.ts';
import { ZERO_USAGE } from '../contracts/turn-facts.ts';
import type { NumberedEntry, TurnEntry } from '../contracts/turn-events.ts';
import { SEAL_EPOCH } from '../contracts/turn-log.ts';
import type { TurnLogWriter } from '../contracts/turn-log.ts';
import type { PersistInput, PersistResult } from '../contracts/turn-workflow.ts';
import { costUsd } from '../policy/price.ts';
import type { Pool } from '../postgres/pool.ts';
import { closeRequest } from '../postgres/turn-requests.ts';
import { findTurn, storeAssistantTurn } from '../postgres/turns.ts';
import type { Logger } from '../process/logger.ts';
import type { Metrics } from '../process/metrics.ts';
import { continuationOf } from './recalled-log.ts';

interface PersistDeps {
  readonly db: Pool;
  readonly turnLog: TurnLogWriter;
  readonly catalog: Catalog;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/**
 * Idempotent: a repeat finds the stored turn and only makes sure that the log is closed.
 * @throws AppError TURN_LOG_LOST when the log is gone though tokens were generated and nothing is stored
 */
export async function persistTurn(deps: PersistDeps, input: PersistInput): Promise<PersistResult> {
  const { turnId, conversationId } = input.turn;
  const sealed = await deps.turnLog.claim(turnId, SEAL_EPOCH);
  if (sealed === 'fenced')
    throw new AppError('INVARIANT_VIOLATED', { message: 'a log is sealed above the seal' });
  if (sealed === 'missing' || sealed.isEnded) {
    const stored = await alreadyStored(deps, input);
    if (stored !== null) return stored;
    if ((input.usage?.completionTokens ?? 0) > 0) throw new AppError('TURN_LOG_LOST');
  }
  const entries = sealed === 'missing' ? [] : sealed.entries;
  const delivered = summarize(entries);
  const continuation = continuationOf(entries);
  const usage = { ...(input.usage ?? ZERO_USAGE), completionTokens: delivered.numTokens };
  const prices = deps.catalog.models[input.route.model]?.prices ?? {
    input: 0,
    cached_input: 0,
    output: 0,
  };
  const result: PersistResult = {
    finishReason: input.finishReason,
    usage,
    costUsd: costUsd(usage, prices),
  };
  const closing = closingOf(input, result);
  const end = delivered.text.length;
  const isStored = await storeAssistantTurn(deps.db, {
    turnId,
    conversationId,
    content: delivered.text,
    model: input.route.model,
    servedModel: input.route.servedModel,
    pool: input.route.pool,
    finishReason: input.finishReason,
    errorCode: input.errorCode,
    usage,
    costUsd: result.costUsd,
    verdict: input.verdict,
    continuation,
    streamOffsets: [...delivered.offsets, ...closing.map(() => end)],
  });
  if (!isStored) return dropDeleted(deps, input, result);
  await deps.turnLog.end(turnId, closing);
  deps.metrics.turns.inc({
    outcome: input.finishReason,
    tier: input.turn.tier,
    pool: input.route.pool,
  });
  deps.logger.info(
    {
      turnId,
      conversationId,
      outcome: input.finishReason,
      code: input.errorCode ?? undefined,
      pool: input.route.pool,
      continuation: continuation ?? undefined,
      ...usage,
    },
    'turn ended',
  );
  return result;
}

/** The conversation was deleted while its turn ran: nothing of the turn may stay. */
async function dropDeleted(
  deps: PersistDeps,
  input: PersistInput,
  result: PersistResult,
): Promise<PersistResult> {
  await deps.turnLog.end(input.turn.turnId, closingOf(input, result)); // Readers that are still there get their end.
  await deps.turnLog.remove(input.turn.turnId);
  await closeRequest(deps.db, input.turn.turnId);
  deps.logger.info({ turnId: input.turn.turnId }, 'turn of a deleted conversation dropped');
  return { finishReason: result.finishReason, usage: ZERO_USAGE, costUsd: 0 };
}

/** The result of an earlier attempt whose answer was lost after its commit; its log gets its end if it lacks one. */
async function alreadyStored(
  deps: PersistDeps,
  input: PersistInput,
): Promise<PersistResult | null> {
  const stored = await findTurn(deps.db, input.turn.conversationId, input.turn.turnId);
  if (stored === null || stored.usage === null) return null;
  const usage: TokenUsage = {
    promptTokens: stored.usage.prompt_tokens,
    completionTokens: stored.usage.completion_tokens,
    cachedTokens: stored.usage.cached_tokens,
  };
  return {
    finishReason: stored.finishReason ?? input.finishReason,
    usage,
    costUsd: stored.usage.cost_usd,
  };
}

interface Delivered {
  readonly text: string;
  readonly numTokens: number;
  /** Length of the text after each entry. */
  readonly offsets: readonly number[];
}

function summarize(entries: readonly NumberedEntry[]): Delivered {
  let text = '';
  let numTokens = 0;
  const offsets = entries.map((entry) => {
    if (entry.type === 'token') {
      text += entry.data.text;
      numTokens += entry.data.ids.length;
    }
    return text.length;
  });
  return { text, numTokens, offsets: offsets.length === 0 ? [0] : offsets };
}

function closingOf(input: PersistInput, result: PersistResult): TurnEntry[] {
  return closingEntries({
    turnId: input.turn.turnId,
    finishReason: input.finishReason,
    errorCode: input.errorCode,
    verdict: input.verdict,
    usage: toWireUsage(result.usage, result.costUsd),
  });
}
