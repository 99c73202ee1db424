// The hot cache on Redis, within a budget of its own: a full Redis evicts nothing (turn logs must stay), so the scripts keep
// the books of what is cached and let go of what is used least. Decision 0018.
import { randomUUID } from 'node:crypto';
import { decodeTurn, encodeTurn } from '../contracts/conversation-cache.ts';
import type { CachedTurns, CacheRead, ConversationCache } from '../contracts/conversation-cache.ts';
import { AppError } from '../contracts/errors.ts';
import type { ConversationId } from '../contracts/ids.ts';
import {
  CACHE_LEASE_MS,
  cacheBookKeys,
  CACHED_TURNS_TTL_MS,
  cachedTurnsKey,
  cachedTurnsPrefix,
  CACHE_TOMBSTONE_MS,
  NUM_CACHE_PARTS,
} from '../contracts/redis-keys.ts';
import type { ShownTurn } from '../contracts/shown-turn.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';

export interface CacheSettings {
  /** Of all entries together; what Redis needs for them is about a third more. */
  readonly bytes: number;
  /** Most turns of an entry. */
  readonly turns: number;
  /** An answer that takes longer has failed; default 100. */
  readonly answerMs?: number;
}

/** Share of the budget for new entries: enough that one lives until those who wait for it have it. */
const NEW_SHARE = 0.1;
const MAX_ENTRY_BYTES = 256 * 1024;
/** After an answer that did not come nobody waits for the cache for this long. */
const AWAY_MS = 1000;

export class RedisConversationCache implements ConversationCache {
  readonly #redis: Redis;
  readonly #settings: CacheSettings;
  #awayUntil = 0;

  constructor(redis: Redis, settings: CacheSettings) {
    this.#redis = redis;
    this.#settings = settings;
  }

  async get(conversationId: ConversationId, version: number): Promise<CacheRead> {
    const token = randomUUID();
    const args = [conversationId, version, token, CACHE_LEASE_MS, CACHED_TURNS_TTL_MS];
    const answer = await this.#ask('fetch', conversationId, args);
    const [kind, ...rest] = answer as ['hit' | 'stale' | 'miss', ...string[]];
    if (kind === 'hit') return { kind, entry: entryOf(rest) };
    const [lease] = rest;
    if (lease === 'taken') return { kind, lease };
    return { kind, lease: lease === 'granted' ? token : null };
  }

  async put(
    conversationId: ConversationId,
    lease: string,
    { version, turns, isComplete }: CachedTurns,
  ): Promise<boolean> {
    const args = [conversationId, version, lease, isComplete ? 1 : 0, ...this.#limits()];
    return this.#keep(conversationId, args, turns);
  }

  async append(
    conversationId: ConversationId,
    version: number,
    turns: readonly ShownTurn[],
  ): Promise<boolean> {
    return this.#keep(conversationId, [conversationId, version, '', 0, ...this.#limits()], turns);
  }

  async remove(conversationId: ConversationId): Promise<void> {
    // Patiently: text that was deleted must not stay for want of a tenth of a second.
    await runScript(this.#redis, 'forget', keysOf(conversationId), [
      conversationId,
      CACHE_TOMBSTONE_MS,
    ]);
  }

  async #keep(
    conversationId: ConversationId,
    args: readonly (string | number)[],
    turns: readonly ShownTurn[],
  ): Promise<boolean> {
    const all = [...args, cachedTurnsPrefix(conversationId), ...turns.map(encodeTurn)];
    return (await this.#ask('keep', conversationId, all)) === 1;
  }

  #limits(): number[] {
    const { bytes, turns } = this.#settings;
    const part = bytes / NUM_CACHE_PARTS;
    const ofNew = Math.floor(part * NEW_SHARE);
    return [
      CACHED_TURNS_TTL_MS,
      turns,
      Math.min(MAX_ENTRY_BYTES, ofNew),
      ofNew,
      Math.floor(part - ofNew),
    ];
  }

  /** @throws AppError STREAM_UNAVAILABLE soon, and for a while at once, when Redis does not answer */
  async #ask(
    script: string,
    conversationId: ConversationId,
    args: readonly (string | number)[],
  ): Promise<unknown> {
    if (performance.now() < this.#awayUntil) throw new AppError('STREAM_UNAVAILABLE');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#awayUntil = performance.now() + AWAY_MS;
        reject(new AppError('STREAM_UNAVAILABLE'));
      }, this.#settings.answerMs ?? 100);
    });
    try {
      return await Promise.race([
        runScript(this.#redis, script, keysOf(conversationId), args),
        late,
      ]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function keysOf(conversationId: ConversationId): string[] {
  return [cachedTurnsKey(conversationId), ...cacheBookKeys(conversationId)];
}

/** @param fields of the hash: name, value, … */
function entryOf(fields: readonly string[]): CachedTurns {
  const values = new Map<string, string>();
  for (let index = 0; index < fields.length; index += 2)
    values.set(fields[index] ?? '', fields[index + 1] ?? '');
  const turns = new Map<string, ShownTurn>();
  for (let place = Number(values.get('from')); place <= Number(values.get('to')); place += 1) {
    // A turn that was stored while the others were read is there twice: read, and appended.
    const turn = decodeTurn(values.get(String(place)) ?? '');
    turns.set(turn.turnId, turn);
  }
  return {
    version: Number(values.get('version')),
    turns: [...turns.values()].sort(byId),
    isComplete: values.get('complete') === '1',
  };
}

function byId(one: ShownTurn, other: ShownTurn): number {
  return one.turnId < other.turnId ? -1 : one.turnId > other.turnId ? 1 : 0;
}
