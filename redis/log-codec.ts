// A log entry as Redis holds it and pushes it: stream fields `e` (type) and `d` (JSON), push message `<n> <type> <JSON>`.
import { AppError } from '../contracts/errors.ts';
import { turnEntry } from '../contracts/turn-events.ts';
import type { NumberedEntry, TokenData, TurnEntry } from '../contracts/turn-events.ts';

/** [type, data, type, data, …] in the order of the entries. */
export function encodeEntries(entries: readonly TurnEntry[]): string[] {
  return entries.flatMap((entry) => [entry.type, JSON.stringify(entry.data)]);
}

/** A row of XRANGE: ['<n>-0', ['e', type, 'd', data]]. @throws AppError INVARIANT_VIOLATED on anything else */
export function decodeRow(row: unknown): NumberedEntry {
  const [id, fields] = row as [string, string[]];
  return decode(Number.parseInt(id, 10), fields[1], fields[3]);
}

/** A push message. @throws AppError INVARIANT_VIOLATED */
export function decodePush(message: string): NumberedEntry {
  const match = /^(\d+) ([a-z]+) /.exec(message);
  if (match === null) throw broken();
  return decode(Number(match[1]), match[2], message.slice(match[0].length));
}

function decode(n: number, type: string | undefined, data: string | undefined): NumberedEntry {
  try {
    const parsed = JSON.parse(data ?? '') as unknown;
    // By far the most, in every gateway's every stream: checked by hand, to the same end.
    if (type === 'token' && isTokenData(parsed)) return { n, type, data: parsed };
    return { n, ...turnEntry.parse({ type, data: parsed }) };
  } catch {
    throw broken(); // Without its cause: a parser's message may quote the entry's text.
  }
}

/** Exactly what the schema says of it; anything else is left to the schema. */
function isTokenData(data: unknown): data is TokenData {
  if (typeof data !== 'object' || data === null) return false;
  const { text, ids, at, ...more } = data as Partial<TokenData>;
  return (
    typeof text === 'string' &&
    Array.isArray(ids) &&
    ids.every(Number.isSafeInteger) &&
    (at === undefined || (Number.isSafeInteger(at) && at >= 0)) &&
    Object.keys(more).length === 0
  );
}

function broken(): AppError {
  return new AppError('INVARIANT_VIOLATED', {
    message: 'a turn log entry does not have the form of one',
  });
}
