import fc from 'fast-check';
import { TokenTextStream } from '../../../../inference/tokenizer/text-stream.ts';

/** A vocabulary with a token for each byte, some of several bytes that cut characters, and a control token. */
const CONTROL = 300;
const LONGER: Readonly<Record<number, readonly number[]>> = {
  256: [0x61, 0x62, 0xc3],
  257: [0xbc, 0x61],
  258: [0x9f, 0x98],
  259: [0x62, 0x62, 0x61],
  [CONTROL]: [],
};
const bytesOf = (id: number): Uint8Array => Uint8Array.from(LONGER[id] ?? [id]);
const idsOf = (text: string): number[] => [...new TextEncoder().encode(text)];

interface Fed {
  readonly parts: string[];
  readonly end: string;
  readonly isStopped: boolean;
}

function feed(ids: readonly number[], stop: readonly string[] = []): Fed {
  const stream = new TokenTextStream(bytesOf, stop);
  const parts = ids.map((id) => stream.push(id));
  return { parts, end: stream.end(), isStopped: stream.isStopped };
}

function textOf(ids: readonly number[], stop: readonly string[] = []): string {
  const { parts, end } = feed(ids, stop);
  return parts.join('') + end;
}

const anyIds = fc.array(
  fc.oneof(
    fc.constantFrom(0x61, 0x62, 0xc3, 0xbc, 0xf0, 0x80, 256, 257, 258, 259, CONTROL),
    fc.nat(255),
  ),
  { maxLength: 40 },
);
const anyStops = fc.array(
  fc.string({ unit: fc.constantFrom('a', 'b', 'ü', '😀', '\uFFFD'), minLength: 1, maxLength: 4 }),
  { maxLength: 3 },
);

describe('TokenTextStream', () => {
  it('gives back any text, and never half a character', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }).map((text) => Buffer.from(text).toString()),
        (text) => {
          const { parts, end } = feed(idsOf(text));
          expect(parts.some((part) => /\p{Surrogate}/u.test(part))).toBe(false);
          expect(parts.join('') + end).toBe(text);
        },
      ),
    );
  });

  it('depends on the bytes alone, not on the tokens that carried them', () => {
    fc.assert(
      fc.property(anyIds, anyStops, (ids, stops) => {
        const byBytes = ids.flatMap((id) => [...bytesOf(id)]);
        expect(textOf(ids, stops)).toBe(textOf(byBytes, stops));
      }),
      { numRuns: 500 },
    );
  });

  it('is rebuilt by feeding the same ids: every later push says the same', () => {
    fc.assert(
      fc.property(anyIds, anyStops, fc.nat(40), (ids, stops, cut) => {
        const whole = feed(ids, stops);
        const resumed = new TokenTextStream(bytesOf, stops);
        for (const id of ids.slice(0, cut)) resumed.push(id);
        expect(ids.slice(cut).map((id) => resumed.push(id))).toEqual(whole.parts.slice(cut));
        expect(resumed.end()).toBe(whole.end);
        expect(resumed.isStopped).toBe(whole.isStopped);
      }),
      { numRuns: 500 },
    );
  });

  it('turns bytes that are no character into U+FFFD, at the end too', () => {
    expect(textOf([0x61, 0xff, 0x62])).toBe('a\uFFFDb');
    expect(textOf([0x61, 0xf0, 0x9f])).toBe('a\uFFFD');
  });

  it('gives a control token no text, not even within a character', () => {
    expect(textOf([0x61, CONTROL, 0x62])).toBe('ab');
    expect(textOf([0xc3, CONTROL, 0xbc])).toBe('ü');
  });

  it('ends before the first stop string, wherever tokens cut it, and is then silent', () => {
    expect(textOf(idsOf('one two STOP three'), ['STOP'])).toBe('one two ');
    expect(feed([0x78, 256, 257, 0x62], ['ü'])).toEqual({
      parts: ['x', 'ab', '', ''],
      end: '',
      isStopped: true,
    });
  });

  it('emits what only looked like a stop string', () => {
    expect(textOf(idsOf('STO STOX ST'), ['STOP'])).toBe('STO STOX ST');
  });

  it('finds a stop string that the end completes', () => {
    expect(textOf([0x61, 0xf0, 0x9f], ['\uFFFD'])).toBe('a');
  });
});
