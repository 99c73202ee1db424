// Readers and writers of many more conversations than the cache holds. Every answer is held against what was stored: the
// turns of a version that the conversation had between the beginning and the end of the read.
import { createRecentTurns } from '../../activities/recent-turns.ts';
import type { RecentTurns } from '../../activities/recent-turns.ts';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, OrgId, TurnId, UserId } from '../../contracts/ids.ts';
import type { ShownTurn } from '../../contracts/shown-turn.ts';
import { findConversation } from '../../postgres/conversations.ts';
import { deleteConversation } from '../../postgres/erasure.ts';
import type { StoredConversation } from '../../postgres/conversations.ts';
import { rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { acceptTurn } from '../../postgres/turn-requests.ts';
import { openTurn, storeAssistantTurn } from '../../postgres/turns.ts';
import { createMetrics } from '../../process/metrics.ts';
import type { Redis } from '../../redis/connection.ts';
import { RedisConversationCache } from '../../redis/conversation-cache.ts';
import { endOf, PARAMS } from './made-turn.ts';
import { randomNumbers } from '../random-numbers.ts';

export interface StormOptions {
  readonly conversations: number;
  /** What the cache may hold, in entries of this storm's size. */
  readonly cached: number;
  /** Reads of a conversation at the same moment. */
  readonly readers: number;
  /** Conversations that are read at the same moment. */
  readonly width: number;
  /** Turns written meanwhile, one after the other. */
  readonly writes: number;
  /** Conversations deleted meanwhile. */
  readonly deletes: number;
  /** Empties Redis after each so many conversations; 0 never. */
  readonly flushEvery: number;
  readonly seed: number;
  /** As a process has it: one connection and one cache each. */
  readonly connections: readonly Redis[];
}

export interface StormResult {
  readonly conversations: number;
  readonly reads: number;
  /** Statements that read turns of the store, of all processes. */
  readonly loads: number;
  readonly loadsPerConversation: number;
  readonly writes: number;
  readonly deleted: number;
  /** Answers that no version of the conversation explains, and conversations read after they were deleted. */
  readonly wrongReads: number;
  /** Entries with text of deleted conversations that are left in Redis. */
  readonly remains: number;
  readonly entriesLeft: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly seconds: number;
}

interface Truth {
  /** Version → number of turns that it has. */
  readonly lengths: Map<number, number>;
  readonly turnIds: TurnId[];
  isDeleted: boolean;
  /** One turn at a time. */
  writing: Promise<void>;
}

interface Read {
  readonly id: ConversationId;
  readonly from: number;
  readonly to: number;
  readonly turnIds: readonly TurnId[];
}

/** A message and its reply, as made-turn.ts makes them. */
const ENTRY_BYTES = 1700;
const LIMIT = 50;

export async function runStorm(
  db: Pool,
  owner: { userId: UserId; orgId: OrgId },
  options: StormOptions,
): Promise<StormResult> {
  const storm = new Storm(db, owner, options);
  await storm.fill();
  return storm.run();
}

class Storm {
  readonly #db: Pool;
  readonly #owner: { userId: UserId; orgId: OrgId };
  readonly #options: StormOptions;
  readonly #truths = new Map<ConversationId, Truth>();
  readonly #processes: { recentTurns: RecentTurns; cache: RedisConversationCache }[];
  readonly #metrics = createMetrics();
  readonly #reads: Read[] = [];
  readonly #random: () => number;
  #loads = 0;
  #wrongReads = 0;

  constructor(db: Pool, owner: { userId: UserId; orgId: OrgId }, options: StormOptions) {
    this.#owner = owner;
    this.#options = options;
    this.#random = randomNumbers(options.seed);
    this.#db = new Proxy(db, {
      get: (on, key) => {
        if (key !== 'query') return Reflect.get(on, key) as unknown;
        return (statement: { text: string }) => {
          if (/ from turns\s/.test(statement.text)) this.#loads += 1;
          return on.query(statement);
        };
      },
    });
    const settings = { bytes: options.cached * ENTRY_BYTES, turns: 64, answerMs: 2000 };
    this.#processes = options.connections.map((redis) => {
      const cache = new RedisConversationCache(redis, settings);
      const deps = { cache, metrics: this.#metrics, cachedTurns: settings.turns };
      return { cache, recentTurns: createRecentTurns(deps) };
    });
  }

  /** Conversations of a message and its reply each, as if they had been written one after the other. */
  async fill(): Promise<void> {
    const { userId, orgId } = this.#owner;
    for (let left = this.#options.conversations; left > 0; left -= 1000) {
      const made = Array.from({ length: Math.min(left, 1000) }, () => ({
        id: newConversationId(),
        turnIds: [newTurnId(), newTurnId()],
      }));
      for (const { id, turnIds } of made)
        this.#truths.set(id, {
          lengths: new Map([[2, 2]]),
          turnIds: [...turnIds],
          isDeleted: false,
          writing: Promise.resolve(),
        });
      await rows(this.#db, FILL, [
        userId,
        orgId,
        made.map(({ id }) => id),
        made.map(({ turnIds }) => turnIds[0]),
        made.map(({ turnIds }) => turnIds[1]),
        endOf(newTurnId()).samples[0]?.content,
      ]);
    }
  }

  async run(): Promise<StormResult> {
    this.#loads = 0;
    const startedAt = performance.now();
    const { readers, width, flushEvery, connections } = this.#options;
    const ids = [...this.#truths.keys()];
    let numDone = 0;
    let isOver = false;
    const others = Promise.all([this.#writeOn(ids, () => isOver), this.#deleteOn(ids)]);
    await this.#together(width, shuffled(ids, this.#random), async (id) => {
      await Promise.all(
        Array.from({ length: readers }, (_, index) => this.#read(id, index % connections.length)),
      );
      numDone += 1;
      if (flushEvery > 0 && numDone % flushEvery === 0) await connections[0]?.flushall();
    });
    const seconds = (performance.now() - startedAt) / 1000;
    const loads = this.#loads;
    isOver = true;
    const [writes] = await others;
    for (const read of this.#reads) if (!this.#isRight(read)) this.#wrongReads += 1;
    return {
      conversations: ids.length,
      reads: this.#reads.length,
      loads,
      loadsPerConversation: loads / ids.length,
      writes,
      deleted: [...this.#truths.values()].filter(({ isDeleted }) => isDeleted).length,
      wrongReads: this.#wrongReads,
      ...(await this.#remains()),
      outcomes: await this.#outcomes(),
      seconds: Math.round(seconds * 10) / 10,
    };
  }

  async #read(id: ConversationId, process: number): Promise<void> {
    const wasDeleted = this.#truths.get(id)?.isDeleted === true;
    const before = await findConversation(this.#db, this.#owner.userId, id);
    if (before === null) return;
    if (wasDeleted) this.#wrongReads += 1;
    const turns = await this.#processes[process]?.recentTurns(this.#db, {
      conversationId: id,
      version: before.version,
      lastTurnId: before.lastTurnId,
      upTo: null,
      limit: LIMIT,
    });
    const after = await findConversation(this.#db, this.#owner.userId, id);
    // Deleted in between: what it was is nobody's to ask.
    if (after === null || turns === undefined) return;
    const turnIds = turns.turns.map(({ turnId }) => turnId);
    this.#reads.push({ id, from: before.version, to: after.version, turnIds });
  }

  #isRight({ id, from, to, turnIds }: Read): boolean {
    const truth = this.#truths.get(id);
    for (let version = from; version <= to; version += 1) {
      const length = truth?.lengths.get(version);
      const right =
        length === undefined ? undefined : truth?.turnIds.slice(0, length).slice(-LIMIT);
      if (right?.length === turnIds.length && right.every((each, at) => each === turnIds[at]))
        return true;
    }
    return false;
  }

  async #writeOn(ids: readonly ConversationId[], isOver: () => boolean): Promise<number> {
    let written = 0;
    for (let write = 0; write < this.#options.writes && !isOver(); write += 1) {
      const id = ids[Math.floor(this.#random() * ids.length)];
      if (id === undefined) break;
      await this.#write(id, write % this.#processes.length);
      written += 1;
    }
    return written;
  }

  async #deleteOn(ids: readonly ConversationId[]): Promise<void> {
    for (let index = 0; index < this.#options.deletes; index += 1) {
      const id = ids[index * Math.floor(ids.length / this.#options.deletes)];
      if (id === undefined) continue;
      await deleteConversation(this.#db, this.#owner.userId, id);
      await this.#processes[0]?.cache.remove(id);
      const truth = this.#truths.get(id);
      if (truth !== undefined) truth.isDeleted = true;
    }
  }

  /** A turn as the activities store it. @param process whose cache hears of it */
  #write(id: ConversationId, process: number): Promise<void> {
    const truth = this.#truths.get(id);
    if (truth === undefined) return Promise.resolve();
    truth.writing = truth.writing.then(() => this.#writeNow(id, truth, process));
    return truth.writing;
  }

  async #writeNow(id: ConversationId, truth: Truth, process: number): Promise<void> {
    const conversation = await findConversation(this.#db, this.#owner.userId, id);
    if (conversation === null) return;
    const cache = this.#processes[process]?.cache;
    const append = (version: number, turns: readonly ShownTurn[]): void => {
      truth.turnIds.push(...turns.map(({ turnId }) => turnId));
      truth.lengths.set(version, truth.turnIds.length);
      void cache?.append(id, version, turns).catch(() => false);
    };
    const turnId = await this.#accept(conversation);
    const opened = await openTurn(this.#db, turnId);
    if (opened?.stored != null) append(opened.stored.version, [opened.stored.turn]);
    const stored = await storeAssistantTurn(this.#db, endOf(turnId));
    if (stored?.version != null) append(stored.version, stored.turns);
  }

  async #accept({ conversationId, activeTurnId }: StoredConversation): Promise<TurnId> {
    const [userTurnId, turnId] = [newTurnId(), newTurnId()];
    const turn = {
      turnId,
      userTurnId,
      conversationId,
      userId: this.#owner.userId,
      parentTurnId: activeTurnId,
      replacesTurnId: null,
      isRegeneration: false,
      content: `a message of ${conversationId}`,
      params: PARAMS,
      model: 'm',
      pool: 'p',
      idempotencyKey: null,
      bodyHash: null,
    };
    await acceptTurn(this.#db, turn, false);
    return turnId;
  }

  async #remains(): Promise<{ remains: number; entriesLeft: number }> {
    const keys = (await this.#options.connections[0]?.keys('conv:{?}:*-*')) ?? [];
    const deleted = new Set(
      [...this.#truths].flatMap(([id, { isDeleted }]) => (isDeleted ? [id as string] : [])),
    );
    let remains = 0;
    let entriesLeft = 0;
    for (const key of keys) {
      const id = key.slice(key.lastIndexOf(':') + 1);
      const hasText = (await this.#options.connections[0]?.hexists(key, 'version')) === 1;
      if (hasText) entriesLeft += 1;
      if (hasText && deleted.has(id)) remains += 1;
    }
    return { remains, entriesLeft };
  }

  async #outcomes(): Promise<Record<string, number>> {
    const { values } = await this.#metrics.conversationCache.get();
    return Object.fromEntries(values.map(({ labels, value }) => [String(labels.outcome), value]));
  }

  async #together<Item>(
    width: number,
    items: readonly Item[],
    work: (item: Item) => Promise<void>,
  ): Promise<void> {
    let next = 0;
    await Promise.all(
      Array.from({ length: width }, async () => {
        for (let at = next++; at < items.length; at = next++) await work(items[at] as Item);
      }),
    );
  }
}

const FILL = `
  with given as (
    select * from unnest($3::uuid[], $4::uuid[], $5::uuid[]) as g(id, message, reply)
  ), made as (
    insert into conversations (conversation_id, user_id, org_id, model, region, title, active_turn_id, last_turn_id, version,
      memory_through_turn_id)
    select id, $1, $2, 'm', 'local', 'a storm', reply, reply, 2, reply from given
  )
  insert into turns (turn_id, conversation_id, user_id, role, content, parent_turn_id)
  select message, id, $1, 'user', 'a message', null from given
  union all select reply, id, $1, 'assistant', $6, message from given`;

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);
}
