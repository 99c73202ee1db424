// One reader's entries of one turn, in order, each once: subscribe first, read what is there, then follow the pushes. A
// gap is healed by reading; an expired log by what is stored. Nothing is kept for a reader that has no room: the log has it.
import { AppError } from '../contracts/errors.ts';
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import type { TurnLogReader, TurnSubscription } from '../contracts/turn-log.ts';
import type { Db } from '../postgres/pool.ts';
import { findRequest } from '../postgres/turn-requests.ts';
import { findReplies } from '../postgres/turns.ts';
import type { OpenStreams } from './open-streams.ts';
import { mergeTokens } from './replay.ts';
import { isOfLostLog, lastEntryOf, storedEntries } from './stored-stream.ts';
import { TextPlaces } from './text-places.ts';

export interface FeedDeps {
  readonly db: Db;
  readonly turnLog: TurnLogReader;
  readonly streams: Pick<OpenStreams, 'replays'>;
}

export interface FeedHandlers {
  /** Entries with rising numbers; `end` is the last. False when the reader has no room: nothing more comes until resume(). */
  onEntries(entries: readonly NumberedEntry[]): boolean;
  /** The log went away in mid-stream and nothing is stored: the reader should come back later. */
  onLost(): void;
}

/** A turn without a log is a turn whose Redis was lost: rare, so its readers may poll. */
const STORE_POLL_MS = 500;
/** Entries of one read of the log: some hundred kilobytes at most, and all of most replies. */
const PAGE = 128;
/** Pushes kept while the log is being read; what is dropped beyond is read as well. */
const MAX_BUFFERED = 256;
/** Characters handed to a reader at once, unless one entry alone has more. */
const MAX_DELIVERED_CHARS = 64 * 1024;

/**
 * `reading`: the log is being read, pushes wait. `live`: pushes pass. `held`: the reader has no room, pushes are dropped.
 * start and resume lead to `reading`, its end to `live`, a reader without room from either to `held`.
 */
type FeedState = 'reading' | 'live' | 'held';

export class TurnFeed {
  readonly #deps: FeedDeps;
  readonly #conversationId: ConversationId;
  readonly #turnId: TurnId;
  readonly #handlers: FeedHandlers;
  readonly #places: TextPlaces;
  #last: number;
  #subscription: TurnSubscription | null = null;
  #isClosed = false;
  #hasEnded = false;
  #storeTimer: NodeJS.Timeout | undefined;
  #state: FeedState = 'reading';
  /** Pushes that arrived while the log is being read. */
  #buffer: NumberedEntry[] = [];
  /** Entries were dropped or left in the log: they have to be read. */
  #isBehind = false;

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
    this.#places = new TextPlaces(after <= 1);
    this.#handlers = handlers;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Subscribes without reading: for a log that this process is about to create. */
  async subscribe(): Promise<void> {
    this.#subscription = await this.#deps.turnLog.subscribe(
      this.#turnId,
      (entry) => this.#receive(entry),
      () => this.#awaitStore(),
    );
    if (this.#isClosed) await this.close();
  }

  /** Follows a log that was created after subscribe(), from its first entry: there is nothing to read. */
  follow(): void {
    this.#flush();
  }

  /**
   * Delivers what is there and follows from then on.
   * @throws AppError INVALID_LAST_EVENT_ID when the reader claims an entry that does not exist, or one of a lost log, of
   * which nobody knows how much text came with it; STREAM_UNAVAILABLE when it may have been in a log that is being made again
   */
  async start(): Promise<void> {
    if (this.#subscription === null) await this.subscribe();
    const entries = await this.#deps.turnLog.read(this.#turnId, Math.max(0, this.#last - 1), PAGE);
    if (entries === 'missing') {
      if (!(await this.#startFromStore())) this.#awaitStore();
      await this.#finishReading();
      return;
    }
    // The entry before tells whether the reader's own number exists; a log that was put back may lack what is stored.
    if (this.#last > 0 && entries[0]?.n !== this.#last) {
      if (await this.#startFromStore()) return;
      const isRemade = await this.#deps.turnLog.isRemade(this.#turnId);
      throw new AppError(isRemade ? 'STREAM_UNAVAILABLE' : 'INVALID_LAST_EVENT_ID');
    }
    const own = entries[0];
    if (this.#last > 0 && own !== undefined && !this.#places.resumeBehind(own))
      throw new AppError('INVALID_LAST_EVENT_ID');
    if (entries.at(-1)?.type === 'end' && entries.at(-1)?.n === this.#last) this.#hasEnded = true;
    this.#isBehind = entries.length === PAGE;
    this.#deliverMerged(entries);
    await this.#finishReading();
  }

  /** The reader has room again. */
  resume(): void {
    if (this.#state !== 'held') return;
    this.#state = 'reading';
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
    if (this.#state === 'live') this.#pass(entry);
    else if (this.#state === 'reading' && this.#buffer.length < MAX_BUFFERED)
      this.#buffer.push(entry);
    else this.#isBehind = true;
  }

  #pass(entry: NumberedEntry): void {
    if (this.#isClosed || this.#hasEnded) return;
    if (entry.n <= this.#last) {
      if (entry.type === 'end') this.#endFromStore();
      return;
    }
    if (entry.n === this.#last + 1) {
      this.#deliver([entry]);
      return;
    }
    this.#isBehind = true;
    if (this.#state === 'live') {
      this.#state = 'reading';
      this.#flush();
    }
  }

  #flush(): void {
    void this.#finishReading(); // It tells its failures by onLost.
  }

  /** Reads until nothing is missing, lets the pushes in between pass, and goes live; or stops where the reader has no room. */
  async #finishReading(): Promise<void> {
    while (this.#state === 'reading' && !this.#isClosed && !this.#hasEnded) {
      if (this.#isBehind) {
        this.#isBehind = false;
        if (!(await this.#deps.streams.replays.pass(() => this.#readOn()))) return;
        continue;
      }
      const entry = this.#buffer.shift();
      if (entry !== undefined) this.#pass(entry);
      else this.#state = 'live';
    }
    if (this.#state === 'held') this.#buffer = [];
  }

  /** One page of what was missed, or the stored turn when the log is gone; false when there is neither. */
  async #readOn(): Promise<boolean> {
    if (this.#isClosed) return false;
    try {
      const missed = await this.#deps.turnLog.read(this.#turnId, this.#last, PAGE);
      if (missed === 'missing') {
        if (await this.#startFromStore()) return true;
        this.#handlers.onLost();
        return false;
      }
      this.#isBehind ||= missed.length === PAGE;
      this.#deliverMerged(missed);
      return true;
    } catch {
      this.#handlers.onLost(); // The stream closes without `done`, and the reader resumes: nothing is lost.
      return false;
    }
  }

  /** The end of a log that is gone, or was put back with less than this reader has: the store has the rest. */
  #endFromStore(): void {
    const before = this.#last;
    this.#startFromStore().then(
      (isStored) => (isStored && this.#last > before) || this.#handlers.onLost(),
      () => this.#handlers.onLost(),
    );
  }

  /** No log and nothing stored: its worker will restore the log, or the turn will be stored without one. */
  #awaitStore(): void {
    const before = this.#last;
    clearTimeout(this.#storeTimer);
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
    const indexes = replies.map(({ sampleIndex }) => sampleIndex ?? 0);
    if (isOfLostLog(replies, this.#last) && !this.#places.areKnown(indexes))
      throw new AppError('INVALID_LAST_EVENT_ID');
    if (this.#last === lastEntryOf(replies)) this.#hasEnded = true;
    this.#deliverMerged(storedEntries(replies, request, this.#last));
    return true;
  }

  /** Runs of tokens in one entry each; as many at once as a reader may be given, as long as it has room. */
  #deliverMerged(entries: readonly NumberedEntry[]): void {
    let batch: NumberedEntry[] = [];
    let numChars = 0;
    for (const entry of mergeTokens(entries.filter(({ n }) => n > this.#last))) {
      const chars = entry.type === 'token' ? entry.data.text.length : 0;
      if (numChars > 0 && numChars + chars > MAX_DELIVERED_CHARS) {
        this.#deliver(batch);
        if (this.#state === 'held') {
          this.#isBehind = true;
          return;
        }
        [batch, numChars] = [[], 0];
      }
      batch.push(entry);
      numChars += chars;
    }
    this.#deliver(batch);
  }

  #deliver(entries: readonly NumberedEntry[]): void {
    const last = entries.at(-1);
    if (last === undefined || this.#isClosed) return;
    const unseen = entries.map((entry) => this.#places.pass(entry));
    if (unseen.includes(null)) {
      this.#handlers.onLost();
      return;
    }
    this.#last = last.n;
    if (last.type === 'end') this.#hasEnded = true;
    if (!this.#handlers.onEntries(unseen.filter((each) => each !== null))) this.#state = 'held';
  }
}
