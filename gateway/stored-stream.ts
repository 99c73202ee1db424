// A turn's entries from Postgres, for readers who come after the log has expired. Same numbers, same places in the text.
import { openData } from '../contracts/open-entry.ts';
import type { NumberedEntry, OpenData } from '../contracts/turn-events.ts';
import { storedClosing } from '../postgres/stored-closing.ts';
import type { StoredRequest } from '../postgres/turn-requests.ts';
import type { StoredTurn } from '../postgres/turns.ts';
import { mergeTokens } from './replay.ts';

/**
 * Entries after `after`; runs of one reply's texts are one entry under its last token's number.
 * @param replies of the turn, in order of their index; at least one
 */
export function storedEntries(
  replies: readonly StoredTurn[],
  request: StoredRequest,
  after: number,
): NumberedEntry[] {
  const closing = storedClosing(replies);
  const lastToken = lastEntryOf(replies) - closing.length;
  const entries: NumberedEntry[] = [];
  if (after < 1) entries.push({ n: 1, type: 'open', data: openOf(replies, request) });
  entries.push(...mergeTokens(storedTokens(replies, Math.max(1, after), lastToken)));
  closing.forEach((entry, index) => entries.push({ n: lastToken + 1 + index, ...entry }));
  return entries.filter((entry) => entry.n > after);
}

/** The number of the stream's last entry. */
export function lastEntryOf(replies: readonly StoredTurn[]): number {
  return replies[0]?.streamOffsets?.length ?? 1 + replies.length;
}

/** Whether the number is of a log that was lost before it was stored: nobody knows how much text came with it. */
export function isOfLostLog(replies: readonly StoredTurn[], n: number): boolean {
  return n > 0 && replies.some(({ streamOffsets }) => streamOffsets?.[n - 1] === -1);
}

/** The entries with text from `after` on, up to `last`. */
function storedTokens(
  replies: readonly StoredTurn[],
  after: number,
  last: number,
): NumberedEntry[] {
  const tokens: NumberedEntry[] = [];
  const places = replies.map(({ streamOffsets }) => Math.max(0, streamOffsets?.[after - 1] ?? 0));
  for (let n = after + 1; n <= last; n += 1) {
    for (const [at, { content, streamOffsets, sampleIndex }] of replies.entries()) {
      const from = places[at] ?? 0;
      const to = Math.max(from, streamOffsets?.[n - 1] ?? content.length);
      const index = sampleIndex === null ? {} : { index: sampleIndex };
      const data = { text: content.slice(from, to), ids: [], at: from, ...index };
      if (to > from) tokens.push({ n, type: 'token', data });
      places[at] = to;
    }
  }
  return tokens;
}

function openOf(replies: readonly StoredTurn[], request: StoredRequest): OpenData {
  const [first] = replies;
  return openData({
    turnId: request.turnId,
    userTurnId: request.userTurnId,
    conversationId: request.conversationId,
    model: first?.model ?? request.model,
    servedModel: first?.servedModel ?? request.model,
    pool: first?.pool ?? request.pool,
    numSamples: replies.length,
    factIds: request.factIds,
  });
}
