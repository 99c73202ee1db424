// Writes and reads of owners' rows through several processes' stores at once, and what of it was wrong: a read that lacks what
// was acknowledged before it began, one that failed, and how long no write was acknowledged.
import { newConversationId } from '../../contracts/ids.ts';
import type { ConversationId, OrgId, UserId } from '../../contracts/ids.ts';
import {
  changeConversation,
  findConversation,
  insertConversation,
} from '../../postgres/conversations.ts';
import type { Stores } from '../../postgres/stores.ts';

export interface LoadedConversation {
  readonly userId: UserId;
  readonly conversationId: ConversationId;
  /** Newest version that was acknowledged; it is the title. */
  acknowledged: number;
  /** Newest that was sent. */
  sent: number;
}

export interface LoadOptions {
  /** Of the processes; each write and read takes any. */
  readonly stores: readonly Stores[];
  readonly owners: readonly { readonly userId: UserId; readonly orgId: OrgId }[];
  readonly numWriters: number;
  readonly numReaders: number;
  /** Between two writes, and two reads, of one of them. */
  readonly writeEveryMs: number;
  readonly readEveryMs: number;
}

export class StoreLoad {
  readonly conversations: LoadedConversation[] = [];
  readonly stale: string[] = [];
  readonly failedReads: string[] = [];
  numReads = 0;
  numWrites = 0;
  /** Longest time between two acknowledged writes, of anybody. */
  longestGapMs = 0;
  longestReadMs = 0;
  #lastWriteAt: number | null = null;
  #isRunning = true;
  readonly #options: LoadOptions;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** One conversation an owner. */
  async prepare(): Promise<void> {
    for (const { userId, orgId } of this.#options.owners) {
      const conversationId = newConversationId();
      await insertConversation(this.#anyStores().primaryOf(userId), {
        ...{ conversationId, userId, orgId, model: 'm', region: 'local', systemPrompt: null },
        title: '0',
      });
      this.conversations.push({ userId, conversationId, acknowledged: 0, sent: 0 });
    }
  }

  start(): void {
    const { numWriters, numReaders } = this.#options;
    // A conversation has one writer, so that its versions have an order.
    const writers = Array.from({ length: numWriters }, (_, writer) =>
      this.#write(this.conversations.filter((_each, index) => index % numWriters === writer)),
    );
    const readers = Array.from({ length: numReaders }, () => this.#read());
    this.#running = Promise.all([...writers, ...readers]);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#running;
  }

  /** Time without an acknowledged write counts from now. */
  resetGap(): void {
    this.longestGapMs = 0;
    this.#lastWriteAt = null;
  }

  async #write(own: readonly LoadedConversation[]): Promise<void> {
    while (this.#isRunning) {
      const each = pick(own);
      each.sent += 1;
      const version = each.sent;
      const change = { title: String(version) };
      try {
        const db = this.#anyStores().primaryOf(each.userId);
        const changed = await changeConversation(db, each.userId, each.conversationId, change);
        if (changed === null) this.stale.push(`${each.conversationId} is gone`);
        each.acknowledged = version;
        this.#onWrite();
      } catch {
        // Refused: it may stand or not; the caller would try again.
      }
      await pause(this.#options.writeEveryMs);
    }
  }

  async #read(): Promise<void> {
    while (this.#isRunning) {
      const each = pick(this.conversations);
      const { userId, conversationId, acknowledged } = each;
      const since = performance.now();
      try {
        const db = await this.#anyStores().readerOf(userId, conversationId);
        const found = await findConversation(db, userId, conversationId);
        this.numReads += 1;
        if (Number(found?.title ?? -1) < acknowledged)
          this.stale.push(`${conversationId}: ${found?.title} of ${acknowledged}`);
      } catch (error) {
        this.failedReads.push(String((error as Error).cause ?? error));
      }
      this.longestReadMs = Math.max(this.longestReadMs, performance.now() - since);
      await pause(this.#options.readEveryMs);
    }
  }

  #onWrite(): void {
    const now = performance.now();
    this.numWrites += 1;
    if (this.#lastWriteAt !== null)
      this.longestGapMs = Math.max(this.longestGapMs, now - this.#lastWriteAt);
    this.#lastWriteAt = now;
  }

  #anyStores(): Stores {
    return pick(this.#options.stores);
  }
}

function pick<Item>(items: readonly Item[]): Item {
  const item = items[Math.floor(Math.random() * items.length)];
  if (item === undefined) throw new Error('There is nothing to pick from.');
  return item;
}

const pause = (ms: number): Promise<void> =>
  ms === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
