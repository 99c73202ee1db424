import fc from 'fast-check';
import type { ConversationId, TurnId, UserId } from '../../../contracts/ids.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { mergeTokens } from '../../../gateway/replay.ts';
import { lastEntryOf, storedEntries } from '../../../gateway/stored-stream.ts';
import type { StoredRequest } from '../../../postgres/turn-requests.ts';
import type { StoredTurn } from '../../../postgres/turns.ts';

const textOf = (entries: readonly NumberedEntry[]): string =>
  entries.map((entry) => (entry.type === 'token' ? entry.data.text : '')).join('');

const request = {
  userTurnId: 'u' as TurnId,
  model: 'm',
  pool: 'p',
  userId: 'x' as UserId,
} as StoredRequest;

function stored(parts: readonly string[], more: Partial<StoredTurn> = {}): StoredTurn {
  const offsets = [0];
  for (const part of parts) offsets.push((offsets.at(-1) ?? 0) + part.length);
  const closing = (more.errorCode ?? null) === null ? 1 : 2;
  const end = offsets.at(-1) ?? 0;
  return {
    turnId: 't' as TurnId,
    conversationId: 'c' as ConversationId,
    role: 'assistant',
    content: parts.join(''),
    parentTurnId: null,
    replacesTurnId: null,
    model: 'm',
    servedModel: 's',
    pool: 'p',
    finishReason: 'stop',
    errorCode: null,
    usage: null,
    moderationVerdict: null,
    streamOffsets: [...offsets, ...Array<number>(closing).fill(end)],
    createdAt: new Date(),
    ...more,
  };
}

describe('storedEntries', () => {
  it('gives the rest of the text after any entry, under rising numbers, and ends with the end', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 }), { maxLength: 12 }),
        fc.nat(15),
        (parts, cut) => {
          const turn = stored(parts);
          const after = Math.min(cut, lastEntryOf(turn));
          const entries = storedEntries(turn, request, after);
          expect(parts.slice(0, Math.max(0, after - 1)).join('') + textOf(entries)).toBe(
            parts.join(''),
          );
          expect(
            entries.every(
              (entry, index) => entry.n > (index === 0 ? after : (entries[index - 1]?.n ?? 0)),
            ),
          ).toBe(true);
          expect(entries.at(-1)?.n ?? lastEntryOf(turn)).toBe(lastEntryOf(turn));
          expect(entries[0]?.type === 'open').toBe(after === 0);
        },
      ),
    );
  });

  it('shows an error directly before the end', () => {
    const entries = storedEntries(
      stored(['a'], { errorCode: 'OVERLOADED', finishReason: 'error' }),
      request,
      0,
    );
    expect(entries.map((entry) => `${entry.n} ${entry.type}`)).toEqual([
      '1 open',
      '2 token',
      '3 error',
      '4 end',
    ]);
  });
});

describe('mergeTokens', () => {
  it('keeps all text and the last number of every run', () => {
    const token = (n: number, text: string): NumberedEntry => ({
      n,
      type: 'token',
      data: { text, ids: [n] },
    });
    const merged = mergeTokens([
      token(2, 'a'),
      token(3, 'b'),
      { n: 4, type: 'retry', data: { attempt: 2 } },
      token(5, 'c'),
    ]);
    expect(merged).toEqual([
      { n: 3, type: 'token', data: { text: 'ab', ids: [] } },
      { n: 4, type: 'retry', data: { attempt: 2 } },
      token(5, 'c'),
    ]);
  });

  it('never merges beyond its bound', () => {
    const long = 'x'.repeat(40_000);
    const token = (n: number): NumberedEntry => ({
      n,
      type: 'token',
      data: { text: long, ids: [] },
    });
    expect(mergeTokens([token(2), token(3), token(4)])).toHaveLength(3);
  });
});
