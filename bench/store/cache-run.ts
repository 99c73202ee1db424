// What the cache keeps: a trace of reads by Zipf's law against it, beside the best that anyone could do who knew the future.
import { newConversationId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId } from '../../contracts/ids.ts';
import { encodeTurn } from '../../contracts/conversation-cache.ts';
import type { ConversationCache } from '../../contracts/conversation-cache.ts';
import type { ShownTurn } from '../../contracts/shown-turn.ts';
import { randomNumbers } from '../random-numbers.ts';
import { zipf } from './random.ts';

export interface HitRates {
  readonly reads: number;
  readonly ours: number;
  /** Belady's: let go of what is needed last. */
  readonly best: number;
  /** Let go of what was used longest ago. */
  readonly lru: number;
  readonly shareOfBest: number;
}

/** A turn like any other, for what only its size matters. */
export const SOME_TURN: ShownTurn = {
  turnId: '01900000-0000-7000-8000-000000000000' as TurnId,
  role: 'user',
  content: 'x'.repeat(700),
  tokenCount: null,
  parentTurnId: null,
  replacesTurnId: null,
  model: null,
  servedModel: null,
  finishReason: null,
  errorCode: null,
  usage: null,
  moderationVerdict: null,
  sampleIndex: null,
  createdAt: new Date(0),
};

/** The budget for so many entries of SOME_TURN, as the cache counts. */
export function bytesFor(entries: number): number {
  return entries * (encodeTurn(SOME_TURN).length + 300);
}

/** @param make a cache with a budget of bytes */
export async function hitRates(
  make: (bytes: number) => ConversationCache,
  {
    conversations,
    cached,
    reads,
    seed,
  }: Readonly<Record<'conversations' | 'cached' | 'reads' | 'seed', number>>,
): Promise<HitRates> {
  const draw = zipf(randomNumbers(seed), conversations);
  const trace = Array.from({ length: reads }, draw);
  const ids = Array.from({ length: conversations }, newConversationId);
  const cache = make(bytesFor(cached));
  let hits = 0;
  let next = 0;
  const reader = async (): Promise<void> => {
    for (let at = next++; at < trace.length; at = next++) {
      const id = ids[trace[at] ?? 0] as ConversationId;
      const read = await cache.get(id, 1);
      if (read.kind === 'hit') hits += 1;
      else if (read.lease !== null && read.lease !== 'taken')
        await cache.put(id, read.lease, { version: 1, turns: [SOME_TURN], isComplete: true });
    }
  };
  await Promise.all(Array.from({ length: 16 }, reader));
  const [ours, best, lru] = [hits / reads, belady(trace, cached), leastRecent(trace, cached)];
  return { reads, ours, best, lru, shareOfBest: ours / best };
}

/** The best hit rate there is for a trace. Source: L. Belady, "A study of replacement algorithms", 1966. */
function belady(trace: readonly number[], size: number): number {
  const nextUse = new Int32Array(trace.length);
  const seen = new Map<number, number>();
  for (let at = trace.length - 1; at >= 0; at -= 1) {
    nextUse[at] = seen.get(trace[at] ?? 0) ?? 2 ** 31 - 1;
    seen.set(trace[at] ?? 0, at);
  }
  /** What is kept → its next use. */
  const kept = new Map<number, number>();
  const heap = new MaxHeap();
  let hits = 0;
  for (const [at, item] of trace.entries()) {
    if (kept.has(item)) hits += 1;
    else if (kept.size >= size)
      for (let [use, old] = heap.pop(); ; [use, old] = heap.pop())
        // An older note of something that was used since says nothing.
        if (kept.get(old) === use) {
          kept.delete(old);
          break;
        }
    kept.set(item, nextUse[at] ?? 0);
    heap.push([nextUse[at] ?? 0, item]);
  }
  return hits / trace.length;
}

function leastRecent(trace: readonly number[], size: number): number {
  const kept = new Set<number>();
  let hits = 0;
  for (const item of trace) {
    if (kept.delete(item)) hits += 1;
    else if (kept.size >= size) for (const oldest of kept) if (kept.delete(oldest)) break;
    kept.add(item);
  }
  return hits / trace.length;
}

type Note = [use: number, item: number];

class MaxHeap {
  readonly #notes: Note[] = [];

  push(note: Note): void {
    this.#notes.push(note);
    let at = this.#notes.length - 1;
    while (at > 0 && this.#swapIfSmaller((at - 1) >> 1, at)) at = (at - 1) >> 1;
  }

  /** The largest. It is never asked of an empty heap. */
  pop(): Note {
    const largest = this.#notes[0] ?? [0, 0];
    const last = this.#notes.pop() ?? [0, 0];
    if (this.#notes.length > 0) this.#notes[0] = last;
    for (let at = 0; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const child = this.#use(right) > this.#use(left) ? right : left;
      if (!this.#swapIfSmaller(at, child)) return largest;
      at = child;
    }
  }

  #use(at: number): number {
    return this.#notes[at]?.[0] ?? -1;
  }

  #swapIfSmaller(parent: number, child: number): boolean {
    const [one, other] = [this.#notes[parent], this.#notes[child]];
    if (one === undefined || other === undefined || one[0] >= other[0]) return false;
    this.#notes[parent] = other;
    this.#notes[child] = one;
    return true;
  }
}
