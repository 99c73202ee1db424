// From sampled ids to log entries: text, coalescing, and one append in flight. The engine's step never waits for it,
// and a Redis that is away only delays the appends.
import type { TextStream } from '../contracts/engine.ts';
import { codeOf, ERROR_TABLE } from '../contracts/errors.ts';
import type { NumberedEntry, TokenData } from '../contracts/turn-events.ts';
import type { AppendResult } from '../contracts/turn-log.ts';

export interface FlushSettings {
  /** Tokens are gathered this long … */
  readonly flushMs: number;
  /** … or until there are this many. The first token never waits. */
  readonly flushTokens: number;
}

export interface TokenFlusherOptions extends FlushSettings {
  readonly text: TextStream;
  /** Number of the next entry. */
  readonly nextEntry: number;
  readonly append: (entries: readonly NumberedEntry[]) => Promise<AppendResult>;
  /** The log belongs to a later attempt, or it is gone for good: stop generating. Called at most once. */
  readonly onLost: (why: 'fenced' | 'missing') => void;
}

/** How long to wait before an append that was not answered is tried again. */
const RETRY_MS = 250;

/** State: idle → (ids arrive) waiting for the timer or the size → appending → idle …; `lost` ends it from anywhere. */
export class TokenFlusher {
  readonly #options: TokenFlusherOptions;
  #pending: TokenData = { text: '', ids: [] };
  #nextEntry: number;
  #timer: NodeJS.Timeout | null = null;
  #appending: Promise<void> | null = null;
  #hasFlushed = false;
  #isLost = false;

  constructor(options: TokenFlusherOptions) {
    this.#options = options;
    this.#nextEntry = options.nextEntry;
  }

  /** Takes sampled ids; returns true once a stop string was met: nothing after it counts. */
  push(tokenIds: readonly number[]): boolean {
    const { text } = this.#options;
    for (const id of tokenIds) {
      if (text.isStopped) break;
      this.#gather(text.push(id), [id]);
    }
    this.#schedule();
    return text.isStopped;
  }

  /** Appends everything that is left, the held-back text included; resolves when the log has it or is lost. */
  async finish(): Promise<void> {
    this.#gather(this.#options.text.end(), []);
    for (;;) {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
      await this.#appending;
      if (this.#isLost || !this.#hasPending()) return;
      this.#start();
    }
  }

  #gather(text: string, ids: readonly number[]): void {
    // NUL is no character that a text column can hold.
    const clean = text.replaceAll('\0', '\uFFFD');
    this.#pending = { text: this.#pending.text + clean, ids: [...this.#pending.ids, ...ids] };
  }

  #hasPending(): boolean {
    return this.#pending.ids.length > 0 || this.#pending.text !== '';
  }

  #schedule(): void {
    if (this.#isLost || this.#appending !== null || !this.#hasPending()) return;
    if (!this.#hasFlushed || this.#pending.ids.length >= this.#options.flushTokens) {
      this.#start();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#start();
    }, this.#options.flushMs);
  }

  #start(): void {
    if (this.#appending !== null || this.#isLost) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#hasFlushed = true;
    const entry: NumberedEntry = { n: this.#nextEntry, type: 'token', data: this.#pending };
    this.#pending = { text: '', ids: [] };
    this.#nextEntry += 1;
    this.#appending = this.#appendUntilKnown(entry).finally(() => {
      this.#appending = null;
      this.#schedule();
    });
  }

  /** An append whose answer is unknown is repeated; the log takes a repeat for what it is. */
  async #appendUntilKnown(entry: NumberedEntry): Promise<void> {
    while (!this.#isLost) {
      try {
        const result = await this.#options.append([entry]);
        if (result !== 'ok') this.lose(result);
        return;
      } catch (error) {
        if (!ERROR_TABLE[codeOf(error)].retryable) {
          this.lose('missing');
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Gives up the log: pending appends end, nothing more is written. */
  lose(why: 'fenced' | 'missing'): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#options.onLost(why);
  }
}
