import fc from 'fast-check';
import { Utf8Stream } from '../../../../inference/tokenizer/utf8-stream.ts';

/** Bytes that are often the beginning of a character, its middle, or neither. */
const bytes = fc.array(
  fc.oneof(
    fc.constantFrom(
      0x61,
      0xc3,
      0xa9,
      0xe2,
      0x82,
      0xac,
      0xf0,
      0x9f,
      0x98,
      0x80,
      0xed,
      0xa0,
      0xef,
      0xbb,
      0xbf,
      0xff,
    ),
    fc.nat(255),
  ),
  { maxLength: 30 },
);
const whole = new TextDecoder('utf-8', { ignoreBOM: true });

describe('Utf8Stream', () => {
  it('gives the text of the whole, whatever the bytes and the cuts, and never half a character', () => {
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(5), { minLength: 1 }), (all, sizes) => {
        const stream = new Utf8Stream();
        const parts: string[] = [];
        for (let at = 0, turn = 0; at < all.length; turn += 1) {
          const size = sizes[turn % sizes.length] || 1;
          parts.push(stream.push(Uint8Array.from(all.slice(at, at + size))));
          at += size;
        }
        parts.push(stream.end());
        expect(parts.join('')).toBe(whole.decode(Uint8Array.from(all)));
        expect(parts.every((part) => !/\p{Surrogate}/u.test(part))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('holds a character back until it is whole', () => {
    const stream = new Utf8Stream();
    expect([0xf0, 0x9f, 0x98, 0x80].map((byte) => stream.push(Uint8Array.of(byte)))).toEqual([
      '',
      '',
      '',
      '😀',
    ]);
  });

  it('keeps a byte order mark', () => {
    expect(new Utf8Stream().push(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\uFEFFa');
  });
});
