// Holds a reply back whose readers have all stalled too far behind it. It asks where they are only now and then, and when it
// cannot know, or has waited long enough, the reply goes on: a hold spares work, nothing depends on it.
import type { ReadersState } from '../contracts/turn-log.ts';
import type { RecalledLog } from './recalled-log.ts';
import { numOutputTokens } from './recalled-log.ts';

export interface LookAheadOptions {
  /** Tokens that the reply may be ahead of its furthest reader. */
  readonly numTokens: number;
  /** Grows with what is sampled and appended. */
  readonly log: RecalledLog;
  readonly readers: () => Promise<ReadersState>;
  readonly hold: (isHeld: boolean) => void;
  /** A reply is held for this long in all; default one minute. */
  readonly maxHeldMs?: number;
  /** While it is held, its readers are looked at this often; default 100 ms. */
  readonly lookMs?: number;
}

/** State: flowing → (all readers stalled, too far behind) held → (one takes again, or time is up) flowing; stop() ends it. */
export class LookAhead {
  readonly #options: LookAheadOptions;
  readonly #lookMs: number;
  #msLeft: number;
  #numAtLastLook = 0;
  #isHeld = false;
  #isLooking = false;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(options: LookAheadOptions) {
    this.#options = options;
    this.#lookMs = options.lookMs ?? 100;
    this.#msLeft = options.maxHeldMs ?? 60_000;
  }

  /** Tokens were sampled. Returns at once; looks at the readers after each quarter of the look-ahead. */
  onTokens(): void {
    const { log, numTokens } = this.#options;
    const numSampled = numOutputTokens(log);
    if (numSampled <= numTokens || numSampled - this.#numAtLastLook < numTokens / 4) return;
    this.#numAtLastLook = numSampled;
    if (!this.#isHeld) void this.#look();
  }

  /** The reply has ended or was given up. */
  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isStopped || this.#msLeft <= 0) return;
    this.#isLooking = true;
    const state = await this.#options.readers().catch((): ReadersState => 'flowing');
    this.#isLooking = false;
    if (this.#isStopped) return;
    this.#set(this.#isTooFarFrom(state));
    if (this.#isHeld) this.#lookAgain();
  }

  #lookAgain(): void {
    this.#timer = setTimeout(() => {
      this.#msLeft -= this.#lookMs;
      if (this.#msLeft <= 0) this.#set(false);
      else void this.#look();
    }, this.#lookMs);
  }

  #isTooFarFrom(state: ReadersState): boolean {
    if (state === 'flowing') return false;
    // Whoever stalled has left: until somebody comes back, or the turn is cancelled for want of readers, nothing changes.
    if (state === 'none') return this.#isHeld;
    const { log, numTokens } = this.#options;
    const numRead = log.entries.reduce(
      (sum, { n, type, data }) => (type === 'token' && n <= state ? sum + data.ids.length : sum),
      0,
    );
    return numOutputTokens(log) - numRead >= numTokens;
  }

  #set(isHeld: boolean): void {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    this.#options.hold(isHeld);
  }
}
