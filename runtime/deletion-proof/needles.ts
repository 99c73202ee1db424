// What a text looks like in files and protocols, so that it is found however it was kept. Pure.

/** Compressors of PostgreSQL and Redis cut a text that they cannot shorten into runs of eight bytes or more. */
const WINDOW = 8;

/**
 * Every form of `canary` that is looked for: its windows as they are and in UTF-16, the whole in hexadecimal, and in base64
 * behind nought, one and two bytes of something else.
 * @param canary random ASCII of at least 16 characters, so that a window of it is nowhere by chance
 */
export function needlesOf(canary: string): Buffer[] {
  const windows = Array.from({ length: canary.length - WINDOW + 1 }, (_, at) =>
    canary.slice(at, at + WINDOW),
  );
  return [...windows.flatMap(plain), ...encoded(canary)];
}

/** For words that a model has put together: a window of them may be anywhere, so the whole is looked for. */
export function needlesOfWords(words: string): Buffer[] {
  return [...plain(words), ...encoded(words)];
}

function plain(text: string): Buffer[] {
  return [Buffer.from(text), Buffer.from(text, 'utf16le')];
}

function encoded(text: string): Buffer[] {
  const hex = Buffer.from(text).toString('hex');
  const base64 = [0, 1, 2].map((shift) => {
    const groups = Buffer.from('x'.repeat(shift) + text).toString('base64');
    // The first and last groups share bits with the neighbours.
    return groups.slice(shift === 0 ? 0 : 4, -4);
  });
  return [hex, hex.toUpperCase(), ...base64].map((each) => Buffer.from(each));
}

export function holdsAny(bytes: Buffer, needles: readonly Buffer[]): boolean {
  return needles.some((needle) => bytes.includes(needle));
}
