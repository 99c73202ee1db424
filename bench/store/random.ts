// What the store's benches draw: lengths, ids, words, ranks. The same seed gives the same conversations.

/** Around `median`, a few of them many times as large. Source: Box and Muller, 1958. */
export function logNormal(random: () => number, median: number, sigma: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return median * Math.exp(sigma * normal);
}

/** A UUIDv7 of a moment. Source: RFC 9562 §5.7. */
export function idAt(random: () => number, ms: number): string {
  const hex = (digits: number): string =>
    Math.floor(random() * 16 ** digits)
      .toString(16)
      .padStart(digits, '0');
  const time = Math.floor(ms).toString(16).padStart(12, '0');
  const variant = (8 + Math.floor(random() * 4)).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(3)}-${variant}${hex(3)}-${hex(12)}`;
}

/** Words of pseudo-English, so that it compresses about as text does. */
export function wordsOf(random: () => number, length: number): string {
  const syllables =
    'ta ke mo ri sun der ly ing con ver sa tion pro mpt the and of to a in is'.split(' ');
  const words = Array.from({ length: 4000 }, () =>
    Array.from(
      { length: 1 + Math.floor(random() * 3) },
      () => syllables[Math.floor(random() * syllables.length)],
    ).join(''),
  );
  const parts: string[] = [];
  for (let size = 0; size < length;) {
    // Few words are frequent, as in any language.
    const word = words[Math.floor(words.length * random() ** 3)] ?? 'word';
    parts.push(word);
    size += word.length + 1;
  }
  return parts.join(' ').slice(0, length);
}

/** Draws 0 … n - 1 with chances 1, 1/2, 1/3 … (Zipf's law, exponent 1). */
export function zipf(random: () => number, n: number): () => number {
  const sums = new Float64Array(n);
  let sum = 0;
  for (let rank = 0; rank < n; rank += 1) sums[rank] = sum += 1 / (rank + 1);
  return () => {
    const at = random() * sum;
    let [low, high] = [0, n - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
