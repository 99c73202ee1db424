// The entries that close a turn's log. Made here for the log and again for a reader who comes after it has expired: both
// must be equal, down to the order of the fields.
import { ERROR_TABLE, wireCode } from './errors.ts';
import type { ErrorCode } from './errors.ts';
import type { TurnId } from './ids.ts';
import type { TurnEntry, WireUsage } from './turn-events.ts';
import type { FinishReason, ModerationVerdict, TokenUsage } from './turn-facts.ts';

export interface ClosedSample {
  readonly turnId: TurnId;
  readonly finishReason: FinishReason;
  readonly usage: WireUsage;
}

export interface ClosedTurn {
  /** In order of their index; one as a rule. */
  readonly samples: readonly ClosedSample[];
  /** A code of the error table; unknown ones are shown as GENERATION_FAILED. */
  readonly errorCode: string | null;
  readonly verdict: ModerationVerdict | null;
}

/** [`moderation`] [`error`] [`done` …] `end`, in this order. */
export function closingEntries(turn: ClosedTurn): TurnEntry[] {
  const { samples, errorCode, verdict } = turn;
  const closing: TurnEntry[] = [];
  if (verdict?.action === 'block')
    closing.push({ type: 'moderation', data: { category: verdict.category ?? 'policy' } });
  if (errorCode !== null) closing.push({ type: 'error', data: errorData(errorCode) });
  for (const [at, { turnId, finishReason, usage }] of samples.entries()) {
    const index = samples.length === 1 ? {} : { index: at };
    const data = { ...index, turn_id: turnId, finish_reason: finishReason, usage };
    closing.push({ type: at === samples.length - 1 ? 'end' : 'done', data });
  }
  return closing;
}

/** Usage as it is stored and sent. */
export function toWireUsage(usage: TokenUsage, costUsd: number): WireUsage {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    cached_tokens: usage.cachedTokens,
    cost_usd: costUsd,
  };
}

function errorData(code: string): { code: string; message: string } {
  const known: ErrorCode = code in ERROR_TABLE ? (code as ErrorCode) : 'GENERATION_FAILED';
  return { code: wireCode(known), message: ERROR_TABLE[known].publicMessage };
}
