import fc from 'fast-check';
import { TokenTextStream } from '../../../../inference/tokenizer/text-stream.ts';

/** One token a byte: every split of characters occurs. */
const bytesOf = (id: number): Uint8Array => Uint8Array.of(id);
const idsOf = (text: string): number[] => [...new TextEncoder().encode(text)];

function textOf(ids: readonly number[], stop: readonly string[] = []): string {
  const stream = new TokenTextStream(bytesOf, stop);
  return ids.map((id) => stream.push(id)).join('') + stream.end();
}

describe('TokenTextStream', () => {
  it('gives back any text, and never half a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()), (text) => {
        const stream = new TokenTextStream(bytesOf, []);
        const parts = idsOf(text).map((id) => stream.push(id));
        expect(parts.every((part) => part.isWellFormed())).toBe(true);
        expect(parts.join('') + stream.end()).toBe(text);
      }),
    );
  });

  it('turns bytes that are no character into U+FFFD, at the end too', () => {
    expect(textOf([0x61, 0xff, 0x62])).toBe('a\uFFFDb');
    expect(textOf([0x61, 0xf0, 0x9f])).toBe('a\uFFFD');
  });

  it('ends before the first stop string, wherever tokens split it', () => {
    expect(textOf(idsOf('one two STOP three'), ['STOP'])).toBe('one two ');
    expect(textOf(idsOf('aab aaab'), ['aaab'])).toBe('aab ');
    expect(textOf(idsOf('x END y'), ['y', 'END'])).toBe('x ');
  });

  it('emits what only looked like a stop string', () => {
    expect(textOf(idsOf('STO STOX ST'), ['STOP'])).toBe('STO STOX ST');
  });

  it('equals a search of the whole text, for any text and stops', () => {
    const small = fc.string({ unit: fc.constantFrom('a', 'b', 'ü') });
    fc.assert(
      fc.property(small, fc.array(small.filter((stop) => stop !== ''), { maxLength: 3 }), (text, stops) => {
        // The first token at which any stop is complete decides; among those complete by then, the earliest begins.
        let seen = '';
        let wanted: string | null = null;
        for (const character of text) {
          seen += character;
          const found = stops.map((stop) => seen.indexOf(stop)).filter((at) => at >= 0);
          if (found.length > 0) {
            wanted = seen.slice(0, Math.min(...found));
            break;
          }
        }
        expect(textOf(idsOf(text), stops)).toBe(wanted ?? text);
      }),
    );
  });

  it('is rebuilt by feeding the same ids: the rest is the same at every cut', () => {
    const ids = idsOf('naïve 👍 text STOPPED');
    const whole = textOf(ids, ['STOPPED!', 'STOP']);
    for (let cut = 0; cut <= ids.length; cut += 1) {
      const before = new TokenTextStream(bytesOf, ['STOPPED!', 'STOP']);
      const emitted = ids.slice(0, cut).map((id) => before.push(id)).join('');
      const after = new TokenTextStream(bytesOf, ['STOPPED!', 'STOP']);
      for (const id of ids.slice(0, cut)) after.push(id);
      const rest = ids.slice(cut).map((id) => after.push(id)).join('') + after.end();
      expect(emitted + rest).toBe(whole);
    }
  });
});
