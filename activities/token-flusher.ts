// From sampled ids to log entries: text, coalescing, and one append in flight. The engine's step never waits for it,
// and a Redis that is away only delays the appends.
import { AppError, codeOf, ERROR_TABLE } from '../contracts/errors.ts';
import type { LoggedLogprob } from '../contracts/logprobs.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import { PendingReply } from './pending-reply.ts';
import type { ReplyText } from './pending-reply.ts';
import type { AppendResult } from '../contracts/turn-log.ts';

export interface FlushSettings {
  /** Tokens are gathered this long … */
  readonly flushMs: number;
  /** … or until there are this many. The first token never waits. */
  readonly flushTokens: number;
  /** … or, behind the first hundred, this many: a reader is far behind by then, and each append takes time from the engine. */
  readonly laterFlushTokens: number;
}

export interface TokenFlusherOptions extends FlushSettings {
  /** Of each reply, fed with what earlier attempts sampled. */
  readonly texts: readonly ReplyText[];
  /** Number of the next entry. */
  readonly nextEntry: number;
  readonly append: (entries: readonly NumberedEntry[]) => Promise<AppendResult>;
  /** The log belongs to a later attempt, or it is gone for good: stop generating. Called at most once. */
  readonly onLost: (why: 'fenced' | 'missing') => void;
}

/** Tokens of all replies, from which on appends are rarer. */
const NUM_EARLY_TOKENS = 100;
/** How long to wait before an append that was not answered is tried again. */
const RETRY_MS = 250;

/** State: idle → (ids arrive) waiting for the timer or the size → appending → idle …; `lost` ends it from anywhere. */
export class TokenFlusher {
  readonly #options: TokenFlusherOptions;
  readonly #replies: readonly PendingReply[];
  #nextEntry: number;
  #timer: NodeJS.Timeout | null = null;
  #appending: Promise<void> | null = null;
  #hasFlushed = false;
  #numTokens = 0;
  #isLost = false;

  constructor(options: TokenFlusherOptions) {
    this.#options = options;
    const { texts } = options;
    this.#replies = texts.map((text, at) => new PendingReply(text, texts.length > 1 ? at : null));
    this.#nextEntry = options.nextEntry;
  }

  /** Takes a reply's sampled ids; returns true once a stop string was met: nothing after it counts. */
  push(
    index: number,
    tokenIds: readonly number[],
    logprobs: readonly LoggedLogprob[] = [],
  ): boolean {
    const reply = this.#reply(index);
    reply.push(tokenIds, logprobs);
    this.#numTokens += tokenIds.length;
    this.#schedule();
    return reply.isStopped;
  }

  /**
   * No token follows: its held-back text is text. Not for a reply that another attempt continues, which holds it back anew.
   * @param reason why it is complete; null when it was cut
   */
  end(index: number, reason: 'stop' | 'length' | null): void {
    this.#reply(index).end(reason);
    this.#schedule();
  }

  /** Appends everything that is left; resolves when the log has it or is lost. */
  async finish(): Promise<void> {
    for (;;) {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
      await this.#appending;
      if (this.#isLost || !this.#hasPending()) return;
      this.#start();
    }
  }

  #reply(index: number): PendingReply {
    const reply = this.#replies[index];
    if (reply === undefined)
      throw new AppError('INVARIANT_VIOLATED', { message: `there is no reply ${index}` });
    return reply;
  }

  #hasPending(): boolean {
    return this.#replies.some((reply) => reply.hasPending);
  }

  #schedule(): void {
    if (this.#isLost || this.#appending !== null || !this.#hasPending()) return;
    const numTokens = this.#replies.reduce((total, { numPendingIds }) => total + numPendingIds, 0);
    const { flushMs, flushTokens, laterFlushTokens } = this.#options;
    const enough = this.#numTokens <= NUM_EARLY_TOKENS ? flushTokens : laterFlushTokens;
    if (!this.#hasFlushed || numTokens >= enough) {
      this.#start();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#start();
    }, flushMs);
  }

  #start(): void {
    if (this.#appending !== null || this.#isLost) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#hasFlushed = true;
    const entries: NumberedEntry[] = this.#replies
      .flatMap((reply) => reply.take())
      .map((entry, at) => ({ n: this.#nextEntry + at, ...entry }));
    this.#nextEntry += entries.length;
    this.#appending = this.#appendUntilKnown(entries).finally(() => {
      this.#appending = null;
      this.#schedule();
    });
  }

  /** An append whose answer is unknown is repeated; the log takes a repeat for what it is. */
  async #appendUntilKnown(entries: readonly NumberedEntry[]): Promise<void> {
    while (!this.#isLost) {
      try {
        const result = await this.#options.append(entries);
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
