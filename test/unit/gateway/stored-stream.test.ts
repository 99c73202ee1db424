import fc from 'fast-check';
import type { ConversationId, TurnId, UserId } from '../../../contracts/ids.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { mergeTokens } from '../../../gateway/replay.ts';
import { isOfLostLog, lastEntryOf, storedEntries } from '../../../gateway/stored-stream.ts';
import type { StoredRequest } from '../../../postgres/turn-requests.ts';
import type { StoredTurn } from '../../../postgres/turns.ts';
import { textOf } from '../../helpers/entry-text.ts';

const request = {
  turnId: '01900000-0000-7000-8000-000000000010' as TurnId,
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
    tokenCount: null,
    streamOffsets: [...offsets, ...Array<number>(closing).fill(end)],
    sampleIndex: null,
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
          const after = Math.min(cut, lastEntryOf([turn]));
          const entries = storedEntries([turn], request, after);
          expect(parts.slice(0, Math.max(0, after - 1)).join('') + textOf(entries)).toBe(
            parts.join(''),
          );
          expect(
            entries.every(
              (entry, index) => entry.n > (index === 0 ? after : (entries[index - 1]?.n ?? 0)),
            ),
          ).toBe(true);
          expect(entries.at(-1)?.n ?? lastEntryOf([turn])).toBe(lastEntryOf([turn]));
          expect(entries[0]?.type === 'open').toBe(after === 0);
        },
      ),
    );
  });

  it('gives each reply of several the rest of its own text, behind any entry that was shown', () => {
    const part = fc.record({ index: fc.nat(2), text: fc.string({ minLength: 1 }) });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.nat(20), fc.nat(20), (parts, one, two) => {
        const replies = [0, 1, 2].map((index): StoredTurn => {
          const offsets = [0];
          for (const each of parts)
            offsets.push((offsets.at(-1) ?? 0) + (each.index === index ? each.text.length : 0));
          const texts = parts.map((each) => (each.index === index ? each.text : ''));
          return {
            ...stored(texts),
            streamOffsets: [...offsets, ...Array<number>(3).fill(offsets.at(-1) ?? 0)],
            sampleIndex: index,
          };
        });
        // Reads in three goes, each cut after a frame that the one before it gave.
        const seen: NumberedEntry[] = [];
        for (const take of [one, two, Infinity]) {
          const after = seen.at(-1)?.n ?? 0;
          seen.push(...storedEntries(replies, request, after).slice(0, take));
        }
        expect(seen.every(({ n }, at) => n > (seen[at - 1]?.n ?? 0))).toBe(true);
        for (const [index, { content }] of replies.entries()) {
          const own = seen.filter(({ type, data }) => type === 'token' && data.index === index);
          expect(textOf(own)).toBe(content);
        }
        const closing = seen.slice(-3);
        expect(closing.map(({ type }) => type)).toEqual(['done', 'done', 'end']);
        expect(closing.map(({ data }) => (data as { index?: number }).index)).toEqual([0, 1, 2]);
      }),
    );
  });

  it('gives a log that was lost and made again as it is, and the end alone to who had all of it before', () => {
    const turn = stored(['ab', 'c']);
    // Entries 2 and 3 were lost, and 3 was the last of a whole reply; then it came again as 4 and 5.
    const again = { ...turn, streamOffsets: [0, -1, 3, 2, 3, 3] };
    expect([1, 2, 3, 4].map((n) => isOfLostLog([again], n))).toEqual([false, true, false, false]);
    for (const [after, text] of [
      [0, 'abc'],
      [1, 'abc'],
      [3, ''],
      [4, 'c'],
      [5, ''],
    ] as const) {
      const entries = storedEntries([again], request, after);
      expect([after, textOf(entries), entries.at(-1)?.type]).toEqual([after, text, 'end']);
    }
  });

  it('cuts a long text where entries ended, so that a reader can resume behind each part', () => {
    const parts = Array.from({ length: 30 }, (_, index) => String(index % 10).repeat(9_000));
    const turn = stored([...parts.slice(0, 10), '', ...parts.slice(10)]);
    const all = storedEntries([turn], request, 0).filter(({ type }) => type === 'token');
    expect(textOf(all)).toBe(parts.join(''));
    expect(all.length).toBe(5);
    expect(Math.max(...all.map((entry) => textOf([entry]).length))).toBeLessThanOrEqual(64 * 1024);
    for (const [index, { n }] of all.entries())
      expect(textOf(all.slice(0, index + 1)) + textOf(storedEntries([turn], request, n))).toBe(
        parts.join(''),
      );
  });

  it('shows an error directly before the end', () => {
    const entries = storedEntries(
      [stored(['a'], { errorCode: 'OVERLOADED', finishReason: 'error' })],
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

  it('keeps the texts of several replies apart', () => {
    const token = (n: number, index: number): NumberedEntry => ({
      n,
      type: 'token',
      data: { index, text: `${n}`, ids: [] },
    });
    expect(mergeTokens([token(2, 0), token(3, 0), token(4, 1), token(5, 0)])).toEqual([
      { n: 3, type: 'token', data: { index: 0, text: '23', ids: [] } },
      token(4, 1),
      token(5, 0),
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
