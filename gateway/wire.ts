// Rows as the API shows them, and the cursors of its lists.
import type { WireConversation, WireTurn } from '../contracts/api.ts';
import { AppError, wireCode } from '../contracts/errors.ts';
import type { ErrorCode } from '../contracts/errors.ts';
import { isUuid } from '../contracts/ids.ts';
import type { ConversationId } from '../contracts/ids.ts';
import type { ShownTurn } from '../contracts/shown-turn.ts';
import type { ListPlace, StoredConversation } from '../postgres/conversations.ts';
import type { StoredFact } from '../postgres/memory-facts.ts';
import type { UsageReport, UsageTotals } from '../postgres/usage.ts';
import { wireUsage } from '../postgres/stored-closing.ts';

export function wireConversation(each: StoredConversation): WireConversation {
  return {
    conversation_id: each.conversationId,
    title: each.title,
    model: each.model,
    region: each.region,
    system_prompt: each.systemPrompt,
    active_turn_id: each.activeTurnId,
    memory_enabled: each.isMemoryEnabled,
    training_eligible: each.isTrainingEligible,
    archived: each.archivedAt !== null,
    created_at: each.createdAt.toISOString(),
    last_turn_at: each.lastTurnAt.toISOString(),
  };
}

export function wireTurn(each: ShownTurn): WireTurn {
  const verdict = each.moderationVerdict;
  return {
    turn_id: each.turnId,
    role: each.role,
    content: each.content,
    parent_turn_id: each.parentTurnId,
    replaces_turn_id: each.replacesTurnId,
    model: each.model,
    served_model: each.servedModel,
    finish_reason: each.finishReason,
    usage: each.usage === null ? null : wireUsage(each.usage),
    ...(each.errorCode === null ? {} : { error: { code: wireCode(each.errorCode as ErrorCode) } }),
    ...(verdict?.action === 'block'
      ? { moderation: { category: verdict.category ?? 'policy' } }
      : {}),
    ...(each.sampleIndex === null ? {} : { index: each.sampleIndex }),
    created_at: each.createdAt.toISOString(),
  };
}

export function wireFacts(facts: readonly StoredFact[]): object[] {
  return facts.map((each) => ({
    fact_id: each.factId,
    text: each.text,
    created_at: each.createdAt.toISOString(),
    last_used_at: each.lastUsedAt?.toISOString() ?? null,
    conversation_id: each.conversationId,
  }));
}

export function wireUsageReport(report: UsageReport): object {
  return {
    ...wireTotals(report),
    by_model: report.byModel.map((each) => ({ model: each.model, ...wireTotals(each) })),
    by_day: report.byDay.map((each) => ({ day: each.day, ...wireTotals(each) })),
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

export function listCursor({ lastTurnAt, conversationId }: ListPlace): string {
  return Buffer.from(`${lastTurnAt.getTime()}.${conversationId}`).toString('base64url');
}

/** @throws AppError INVALID_REQUEST on anything this service did not hand out */
export function parseListCursor(cursor: string): ListPlace {
  const [time = '', id = ''] = Buffer.from(cursor, 'base64url').toString('utf8').split('.');
  if (!/^\d{1,14}$/.test(time) || !isUuid(id)) throw badCursor();
  return { lastTurnAt: new Date(Number(time)), conversationId: id as ConversationId };
}

export function badCursor(): AppError {
  return new AppError('INVALID_REQUEST', {
    message: 'before: must be a next_cursor of this list.',
    param: 'before',
  });
}
