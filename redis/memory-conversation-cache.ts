// The hot cache's in-memory twin for tests without services: the same rules of versions, leases and removal, no budget.
import { randomUUID } from 'node:crypto';
import { decodeTurn, encodeTurn } from '../contracts/conversation-cache.ts';
import type { CachedTurns, CacheRead, ConversationCache } from '../contracts/conversation-cache.ts';
import type { ConversationId } from '../contracts/ids.ts';
import { CACHE_LEASE_MS } from '../contracts/redis-keys.ts';
import type { ShownTurn } from '../contracts/shown-turn.ts';

interface Slot {
  entry: { version: number; turns: Map<string, string>; isComplete: boolean } | null;
  lease: { token: string; untilMs: number } | null;
  isGone: boolean;
}

export class MemoryConversationCache implements ConversationCache {
  readonly #slots = new Map<ConversationId, Slot>();
  readonly #maxTurns: number;

  constructor(maxTurns = 64) {
    this.#maxTurns = maxTurns;
  }

  async get(conversationId: ConversationId, version: number): Promise<CacheRead> {
    const slot = this.#slot(conversationId);
    const { entry, lease } = slot;
    if (slot.isGone) return { kind: 'miss', lease: null };
    if (entry !== null && entry.version >= version) {
      const turns = [...entry.turns.values()].map(decodeTurn);
      return { kind: 'hit', entry: { ...entry, turns } };
    }
    const kind = entry === null ? 'miss' : 'stale';
    if (lease !== null && lease.untilMs > Date.now()) return { kind, lease: 'taken' };
    slot.lease = { token: randomUUID(), untilMs: Date.now() + CACHE_LEASE_MS };
    return { kind, lease: slot.lease.token };
  }

  async put(conversationId: ConversationId, lease: string, entry: CachedTurns): Promise<boolean> {
    const slot = this.#slot(conversationId);
    if (slot.isGone || slot.lease?.token !== lease) return false;
    slot.lease = null;
    if (slot.entry !== null && slot.entry.version >= entry.version) return false;
    slot.entry = { ...entry, turns: new Map() };
    this.#add(slot.entry, entry.turns);
    return true;
  }

  async append(
    conversationId: ConversationId,
    version: number,
    turns: readonly ShownTurn[],
  ): Promise<boolean> {
    const slot = this.#slot(conversationId);
    if (slot.isGone || slot.entry?.version !== version - 1) return false;
    slot.lease = null;
    slot.entry.version = version;
    this.#add(slot.entry, turns);
    return true;
  }

  async remove(conversationId: ConversationId): Promise<void> {
    this.#slots.set(conversationId, { entry: null, lease: null, isGone: true });
  }

  #add(entry: NonNullable<Slot['entry']>, turns: readonly ShownTurn[]): void {
    for (const turn of turns) entry.turns.set(turn.turnId, encodeTurn(turn));
    const ids = [...entry.turns.keys()].sort();
    const sorted = ids.map((id): [string, string] => [id, entry.turns.get(id) ?? '']);
    entry.turns = new Map(sorted.slice(-this.#maxTurns));
    if (sorted.length > this.#maxTurns) entry.isComplete = false;
  }

  #slot(conversationId: ConversationId): Slot {
    const slot = this.#slots.get(conversationId) ?? { entry: null, lease: null, isGone: false };
    this.#slots.set(conversationId, slot);
    return slot;
  }
}
