// What the proof of deletion finds, and does not find by chance.
import { deflateRawSync } from 'node:zlib';
import { holdsAny, needlesOf, needlesOfWords } from '../../../runtime/deletion-proof/needles.ts';

const CANARY = 'Qx7mT2vKp9ZrL4wN8bHcD3sF';
const noise = Buffer.from('something else that is quite long '.repeat(20));
const hidden = (bytes: Buffer | string): Buffer =>
  Buffer.concat([noise, Buffer.from(bytes), noise]);

describe('needlesOf', () => {
  it.each<[string, Buffer | string]>([
    ['as it is', CANARY],
    ['in JSON', JSON.stringify({ content: `x ${CANARY} y` })],
    ['in a URL', encodeURIComponent(`?q=${CANARY}&`)],
    ['in UTF-16', Buffer.from(CANARY, 'utf16le')],
    ['in hexadecimal', Buffer.from(`a${CANARY}b`).toString('hex')],
    ['in hexadecimal capitals', Buffer.from(CANARY).toString('hex').toUpperCase()],
    ['in base64', Buffer.from(`{"x":"${CANARY}"}`).toString('base64')],
    ['in base64 behind one byte', Buffer.from(`a${CANARY} and more`).toString('base64')],
    ['in base64 behind two bytes', Buffer.from(`ab${CANARY} and more`).toString('base64')],
    // pglz: a control byte before every eight literals.
    [
      'in runs of eight, as PostgreSQL’s compressor cuts it',
      (`xyz${CANARY}`.match(/.{1,8}/g) ?? []).join('\0'),
    ],
    // LZF: runs of at most 32.
    [
      'across runs of 32, as Redis’s compressor cuts it',
      `\x1f${'a'.repeat(20)}${CANARY.slice(0, 12)}\x1f${CANARY.slice(12)}`,
    ],
  ])('finds a text %s', (_how, bytes) => {
    expect(holdsAny(hidden(bytes), needlesOf(CANARY))).toBe(true);
  });

  it('finds nothing where nothing is', () => {
    const other = 'aB3dE5fG7hJ9kL1mN2pQ4rS6';
    for (const bytes of [noise, hidden(other), hidden(deflateRawSync(other))])
      expect(holdsAny(bytes, needlesOf(CANARY))).toBe(false);
  });
});

describe('needlesOfWords', () => {
  it('looks for the whole, because a piece of it is anywhere', () => {
    const needles = needlesOfWords('quite long winded gander');
    expect(holdsAny(noise, needles)).toBe(false);
    expect(holdsAny(hidden('quite long winded gander'), needles)).toBe(true);
  });
});
