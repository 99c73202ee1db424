// Finds stop strings in text that comes in pieces. Holds back no more than what may be the beginning of one.

export class StopMatcher {
  readonly #stops: readonly string[];
  #held = '';
  isStopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** The text that is certain not to be part of a stop string; nothing once one was met. */
  push(text: string): string {
    if (this.isStopped) return '';
    const all = this.#held + text;
    const found = this.#stops.map((stop) => all.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.isStopped = true;
      this.#held = '';
      return all.slice(0, Math.min(...found));
    }
    const hold = Math.max(0, ...this.#stops.map((stop) => longestSuffixThatBegins(all, stop)));
    this.#held = all.slice(all.length - hold);
    return all.slice(0, all.length - hold);
  }

  /** The held-back rest, when no more text comes. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

/** Length of the longest end of `text` that is a proper beginning of `stop`. */
function longestSuffixThatBegins(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
