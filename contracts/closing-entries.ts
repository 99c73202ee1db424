// The entries that close a turn's log. Made here for the log and again for a reader who comes after it has expired: both
// must be equal, down to the order of the fields.
import { ERROR_TABLE, wireCode } from './errors.ts';
import type { ErrorCode } from './errors.ts';
import type { TurnId } from './ids.ts';
import type { TurnEntry, WireUsage } from './turn-events.ts';
import type { FinishReason, ModerationVerdict, TokenUsage } from './turn-facts.ts';

export interface ClosedTurn {
  readonly turnId: TurnId;
  readonly finishReason: FinishReason;
  /** A code of the error table; unknown ones are shown as GENERATION_FAILED. */
  readonly errorCode: string | null;
  readonly verdict: ModerationVerdict | null;
  readonly usage: WireUsage;
}

/** [`moderation`] [`error`] `end`, in this order. */
export function closingEntries(turn: ClosedTurn): TurnEntry[] {
  const { turnId, finishReason, errorCode, verdict, usage } = turn;
  const closing: TurnEntry[] = [];
  if (verdict?.action === 'block')
    closing.push({ type: 'moderation', data: { category: verdict.category ?? 'policy' } });
  if (errorCode !== null) closing.push({ type: 'error', data: errorData(errorCode) });
  const done = { turn_id: turnId, finish_reason: finishReason, usage };
  return [...closing, { type: 'end', data: done }];
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
