// One reader's entries of one turn, in order, each once: subscribe first, read what is there, then follow the pushes. A
// gap is healed by reading; an expired log by what is stored.
import { AppError } from '../contracts/errors.ts';
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import type { TurnLogReader, TurnSubscription } from '../contracts/turn-log.ts';
import type { Db } from '../postgres/pool.ts';
import { findRequest } from '../postgres/turn-requests.ts';
import { findReplies } from '../postgres/turns.ts';
import { mergeTokens } from './replay.ts';
import { lastEntryOf, storedEntries } from './stored-stream.ts';

export interface FeedDeps {
  readonly db: Db;
  readonly turnLog: TurnLogReader;
}

export interface FeedHandlers {
  /** Entries with rising numbers; `end` is the last. */
  onEntries(entries: readonly NumberedEntry[]): void;
  /** The log went away in mid-stream and nothing is stored: the reader should come back later. */
  onLost(): void;
}

/** A turn without a log is a turn whose Redis was lost: rare, so its readers may poll. */
const STORE_POLL_MS = 500;

export class TurnFeed {
  readonly #deps: FeedDeps;
  readonly #conversationId: ConversationId;
  readonly #turnId: TurnId;
  readonly #handlers: FeedHandlers;
  #last: number;
  #subscription: TurnSubscription | null = null;
  #isClosed = false;
  #hasEnded = false;
  #storeTimer: NodeJS.Timeout | undefined;
  /** Pushes that arrive while the log is being read; null when entries may pass at once. */
  #buffer: NumberedEntry[] | null = [];

  /** @param after the last entry the reader has; 0 for none */
  constructor(
    deps: FeedDeps,
    conversationId: ConversationId,
    turnId: TurnId,
    after: number,
    handlers: FeedHandlers,
  ) {
    this.#deps = deps;
    this.#conversationId = conversationId;
    this.#turnId = turnId;
    this.#last = after;
    this.#handlers = handlers;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Subscribes without reading: for a log that this process is about to create. */
  async subscribe(): Promise<void> {
    this.#subscription = await this.#deps.turnLog.subscribe(this.#turnId, (entry) =>
      this.#receive(entry),
    );
    if (this.#isClosed) await this.close();
  }

  /** Follows a log that was created after subscribe(), from its first entry: there is nothing to read. */
  follow(): void {
    this.#flush();
  }

  /**
   * Delivers what is there and follows from then on.
   * @throws AppError INVALID_LAST_EVENT_ID when the reader claims an entry that does not exist
   */
  async start(): Promise<void> {
    if (this.#subscription === null) await this.subscribe();
    const entries = await this.#deps.turnLog.read(this.#turnId, Math.max(0, this.#last - 1));
    if (entries === 'missing') {
      if (!(await this.#startFromStore())) this.#awaitStore();
      this.#flush();
      return;
    }
    // The entry before tells whether the reader's own number exists.
    if (this.#last > 0 && entries[0]?.n !== this.#last) throw new AppError('INVALID_LAST_EVENT_ID');
    const isAtEnd = entries.at(-1)?.type === 'end';
    this.#deliver(mergeTokens(entries.filter((entry) => entry.n > this.#last)));
    if (isAtEnd) this.#hasEnded = true;
    this.#flush();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#storeTimer);
    const subscription = this.#subscription;
    this.#subscription = null;
    await subscription?.close();
  }

  #receive(entry: NumberedEntry): void {
    if (this.#buffer === null) this.#pass(entry);
    else this.#buffer.push(entry);
  }

  #pass(entry: NumberedEntry): void {
    if (this.#isClosed || this.#hasEnded || entry.n <= this.#last) return;
    if (entry.n > this.#last + 1) void this.#heal();
    else this.#deliver([entry]);
  }

  #flush(): void {
    const buffered = this.#buffer ?? [];
    this.#buffer = null;
    for (const entry of buffered) this.#pass(entry);
  }

  /** Pushes were missed: read them, or take the stored turn when the log is gone. */
  async #heal(): Promise<void> {
    if (this.#buffer !== null) return;
    this.#buffer = [];
    try {
      const missed = await this.#deps.turnLog.read(this.#turnId, this.#last);
      if (missed !== 'missing') this.#deliver(missed);
      else if (!(await this.#startFromStore())) this.#handlers.onLost();
    } catch {
      this.#handlers.onLost(); // The stream closes without `done`, and the reader resumes: nothing is lost.
    }
    this.#flush();
  }

  /** No log and nothing stored: its worker will restore the log, or the turn will be stored without one. */
  #awaitStore(): void {
    const before = this.#last;
    this.#storeTimer = setTimeout(() => {
      if (this.#isClosed || this.#last !== before) return;
      this.#startFromStore().then(
        (isStored) => isStored || this.#awaitStore(),
        () => this.#handlers.onLost(),
      );
    }, STORE_POLL_MS);
  }

  async #startFromStore(): Promise<boolean> {
    const [replies, request] = await Promise.all([
      findReplies(this.#deps.db, this.#conversationId, this.#turnId),
      findRequest(this.#deps.db, this.#turnId),
    ]);
    if (replies.length === 0 || request === null) return false;
    if (this.#last > lastEntryOf(replies)) throw new AppError('INVALID_LAST_EVENT_ID');
    this.#deliver(storedEntries(replies, request, this.#last));
    this.#hasEnded = true;
    return true;
  }

  #deliver(entries: readonly NumberedEntry[]): void {
    const fresh = entries.filter((entry) => entry.n > this.#last);
    const last = fresh.at(-1);
    if (last === undefined || this.#isClosed) return;
    this.#last = last.n;
    if (last.type === 'end') this.#hasEnded = true;
    this.#handlers.onEntries(fresh);
  }
}
