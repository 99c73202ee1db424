// A log entry as Redis holds it and pushes it: stream fields `e` (type) and `d` (JSON), push message `<n> <type> <JSON>`.
import { AppError } from '../contracts/errors.ts';
import { turnEntry } from '../contracts/turn-events.ts';
import type { NumberedEntry, TurnEntry } from '../contracts/turn-events.ts';

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
    return { n, ...turnEntry.parse({ type, data: JSON.parse(data ?? '') }) };
  } catch {
    throw broken(); // Without its cause: a parser's message may quote the entry's text.
  }
}

function broken(): AppError {
  return new AppError('INVARIANT_VIOLATED', {
    message: 'a turn log entry does not have the form of one',
  });
}
