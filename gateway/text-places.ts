// How much of each reply's text a reader has. A log that was lost and made again has other numbers and the same text: its
// readers go on by the place.
import type { NumberedEntry, TokenData } from '../contracts/turn-events.ts';

type TokenEntry = NumberedEntry & { readonly type: 'token' };

export class TextPlaces {
  /** By the reply's index: UTF-16 units that the reader has. */
  readonly #places = new Map<number, number>();
  /** What holds of a reply that is not in the map; null when nobody knows. */
  #elsewhere: number | null;
  #isOfLostLog = false;

  /** @param isAtStart the reader has no text yet; else all that is known comes from the entries it gets */
  constructor(isAtStart: boolean) {
    this.#elsewhere = isAtStart ? 0 : null;
  }

  /** The reader comes back with this entry as its last. False when the entry does not tell how much text that is. */
  resumeBehind(entry: NumberedEntry): boolean {
    if (entry.type === 'lost' && entry.data.is_whole) this.#elsewhere = Infinity;
    if (entry.type === 'token') this.#learn(entry.data);
    return entry.type !== 'lost' || entry.data.is_whole;
  }

  /** Whether it is known of all these replies. */
  areKnown(indexes: readonly number[]): boolean {
    return indexes.every((index) => this.#placeOf(index) !== null);
  }

  /** The entry without the text that the reader has; null when the log was lost and nobody knows what that is. */
  pass(entry: NumberedEntry): NumberedEntry | null {
    if (entry.type === 'lost') this.#isOfLostLog = true;
    if (entry.type !== 'token') return entry;
    const { at, text, index = 0 } = entry.data;
    const place = this.#placeOf(index);
    if (place === null && this.#isOfLostLog) return null;
    if (at === undefined) {
      // A worker of an older version wrote it: its log has no stand-ins either.
      if (place !== null) this.#places.set(index, place + text.length);
      return entry;
    }
    this.#learn(entry.data);
    return place === null || place <= at ? entry : withoutFirst(entry, place - at);
  }

  #placeOf(index: number): number | null {
    return this.#places.get(index) ?? this.#elsewhere;
  }

  #learn({ at, text, index = 0 }: TokenData): void {
    if (at === undefined) return;
    this.#places.set(index, Math.max(this.#placeOf(index) ?? 0, at + text.length));
  }
}

/** The entry without its first characters, and without the logprobs of the tokens that ended in them. */
function withoutFirst(entry: TokenEntry, numChars: number): TokenEntry {
  const { text, at = 0, logprobs = [], ...data } = entry.data;
  let [end, first] = [0, 0];
  while (first < logprobs.length && end < numChars) {
    end += logprobs[first]?.[0].length ?? 0;
    first += 1;
  }
  const left = logprobs.slice(first);
  return {
    ...entry,
    data: {
      ...data,
      text: text.slice(numChars),
      at: Math.min(at + numChars, at + text.length),
      ...(left.length === 0 ? {} : { logprobs: left }),
    },
  };
}
