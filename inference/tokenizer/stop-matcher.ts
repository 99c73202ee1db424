// Finds stop strings in text that comes in pieces. Holds back no more than what may be the beginning of one. What it
// emits in all depends on the text alone, not on how it was cut: the stop string that is complete first ends the text,
// and of those complete at the same character the longest.

export class StopMatcher {
  readonly #stops: readonly string[];
  #held = '';
  #isStopped = false;

  /** @param stops not empty each; lone surrogates in them stand for U+FFFD, as everywhere in this product */
  constructor(stops: readonly string[]) {
    // Well-formed stops are what makes every cut fall between characters.
    this.#stops = stops.map(wellFormed).filter((stop) => stop !== '');
  }

  /** A stop string is complete. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** The text that is certain not to be part of a stop string; nothing once one was met. */
  push(text: string): string {
    if (this.#isStopped) return '';
    const all = this.#held + text;
    const start = startOfFirstStop(all, this.#stops);
    if (start !== null) {
      this.#isStopped = true;
      this.#held = '';
      return all.slice(0, start);
    }
    const numHeld = Math.max(0, ...this.#stops.map((stop) => longestSuffixThatBegins(all, stop)));
    this.#held = all.slice(all.length - numHeld);
    return all.slice(0, all.length - numHeld);
  }

  /** The held-back rest, when no more text comes. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

function startOfFirstStop(text: string, stops: readonly string[]): number | null {
  let start: number | null = null;
  let end = Infinity;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at < 0 || at + stop.length > end) continue;
    if (at + stop.length === end && start !== null && at > start) continue;
    start = at;
    end = at + stop.length;
  }
  return start;
}

/** Length of the longest end of `text` that is a proper beginning of `stop`. */
function longestSuffixThatBegins(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD');
}
