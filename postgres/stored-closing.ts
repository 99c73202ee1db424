// How a stored turn closed its stream. Pure.
import { closingEntries } from '../contracts/closing-entries.ts';
import type { TurnEntry, WireUsage } from '../contracts/turn-events.ts';
import type { StoredTurn } from './turns.ts';

const NO_USAGE: WireUsage = {
  prompt_tokens: 0,
  completion_tokens: 0,
  cached_tokens: 0,
  cost_usd: 0,
};

/** The closing entries that the turn's log had. @param replies of the turn, in order of their index; at least one */
export function storedClosing(replies: readonly StoredTurn[]): TurnEntry[] {
  return closingEntries({
    samples: replies.map(({ turnId, finishReason, usage }) => ({
      turnId,
      finishReason: finishReason ?? 'error',
      usage: wireUsage(usage),
    })),
    errorCode: replies.find(({ errorCode }) => errorCode !== null)?.errorCode ?? null,
    verdict: replies[0]?.moderationVerdict ?? null,
  });
}

/** Usage with its fields in the order of the wire; jsonb keeps its own. */
export function wireUsage(usage: WireUsage | null): WireUsage {
  const { prompt_tokens, completion_tokens, cached_tokens, cost_usd } = usage ?? NO_USAGE;
  return { prompt_tokens, completion_tokens, cached_tokens, cost_usd };
}
