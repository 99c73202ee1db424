// A turn's entries from Postgres, for readers who come after the log has expired. Same numbers, same places in the text.
import { closingEntries } from '../contracts/closing-entries.ts';
import type { NumberedEntry, WireUsage } from '../contracts/turn-events.ts';
import type { StoredRequest } from '../postgres/turn-requests.ts';
import type { StoredTurn } from '../postgres/turns.ts';

const NO_USAGE: WireUsage = {
  prompt_tokens: 0,
  completion_tokens: 0,
  cached_tokens: 0,
  cost_usd: 0,
};

/** Entries after `after`; token texts between are one entry under the last token's number. */
export function storedEntries(
  turn: StoredTurn,
  request: StoredRequest,
  after: number,
): NumberedEntry[] {
  const offsets = turn.streamOffsets ?? [0, turn.content.length];
  const closing = closingEntries({
    turnId: turn.turnId,
    finishReason: turn.finishReason ?? 'error',
    errorCode: turn.errorCode,
    verdict: turn.moderationVerdict,
    usage: wireUsage(turn.usage),
  });
  const last = offsets.length;
  const lastToken = last - closing.length;
  const entries: NumberedEntry[] = [];
  if (after < 1) {
    entries.push({
      n: 1,
      type: 'open',
      data: {
        turn_id: turn.turnId,
        user_turn_id: request.userTurnId,
        conversation_id: turn.conversationId,
        model: turn.model ?? request.model,
        served_model: turn.servedModel ?? request.model,
        pool: turn.pool ?? request.pool,
      },
    });
  }
  const text = turn.content.slice(after < 1 ? 0 : (offsets[after - 1] ?? turn.content.length));
  if (text !== '' && lastToken > 1)
    entries.push({ n: lastToken, type: 'token', data: { text, ids: [] } });
  closing.forEach((entry, index) => entries.push({ n: lastToken + 1 + index, ...entry }));
  return entries.filter((entry) => entry.n > after);
}

/** The number of the stream's last entry. */
export function lastEntryOf(turn: StoredTurn): number {
  return turn.streamOffsets?.length ?? 2;
}

/** Usage with its fields in the order of the wire; jsonb keeps its own. */
export function wireUsage(usage: WireUsage | null): WireUsage {
  const { prompt_tokens, completion_tokens, cached_tokens, cost_usd } = usage ?? NO_USAGE;
  return { prompt_tokens, completion_tokens, cached_tokens, cost_usd };
}
