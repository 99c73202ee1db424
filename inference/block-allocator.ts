// Who holds which KV block. It knows ids and reference counts; the memory itself is native.
//
//   0 … numBlocks-1   every block is either free (in the queue, count 0) or held (not in the queue, count ≥ 1)
//
// A free block may still carry content that the prefix cache knows: it can be held again as it is, until somebody needs
// the memory. Free blocks form a queue in order of eviction: those without content first, then the one freed first.
// So whoever frees a table frees it from its end: beginnings are shared more often.
import { AppError } from '../contracts/errors.ts';

export class BlockAllocator {
  readonly numBlocks: number;
  readonly #refCounts: Int32Array;
  readonly #hasContent: Uint8Array;
  /** Doubly linked queue of free blocks; the entry at numBlocks is both its ends. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #onEvict: (id: number) => void;
  #numFree = 0;
  #numCached = 0;

  /**
   * All blocks are free and empty.
   * @param onEvict hears of each block whose content is about to be lost
   * @throws AppError INVALID_REQUEST unless numBlocks ≥ 1
   */
  constructor(numBlocks: number, onEvict: (id: number) => void = () => undefined) {
    if (!Number.isInteger(numBlocks) || numBlocks < 1) {
      throw new AppError('INVALID_REQUEST', {
        message: `a KV pool has at least one block, not ${numBlocks}`,
      });
    }
    this.numBlocks = numBlocks;
    this.#onEvict = onEvict;
    this.#refCounts = new Int32Array(numBlocks);
    this.#hasContent = new Uint8Array(numBlocks);
    this.#next = new Int32Array(numBlocks + 1).fill(numBlocks);
    this.#previous = new Int32Array(numBlocks + 1).fill(numBlocks);
    for (let id = 0; id < numBlocks; id += 1) this.#enqueue(id, this.#previous[numBlocks] ?? 0);
  }

  /** Free blocks, with and without content. */
  get numFree(): number {
    return this.#numFree;
  }

  get numUsed(): number {
    return this.numBlocks - this.#numFree;
  }

  /** Free blocks whose content the prefix cache still knows. */
  get numCached(): number {
    return this.#numCached;
  }

  /**
   * Takes `count` blocks, each with one reference, or none at all: null when there are not enough.
   * @throws AppError INVARIANT_VIOLATED unless count is a whole number ≥ 0
   */
  allocate(count: number): number[] | null {
    if (!Number.isInteger(count) || count < 0) throw broken(`${count} blocks cannot be allocated`);
    if (count > this.#numFree) return null;
    const taken: number[] = [];
    for (let index = 0; index < count; index += 1) {
      const id = this.#next[this.numBlocks] ?? 0;
      this.#dequeue(id);
      if (this.#hasContent[id] === 1) {
        this.#hasContent[id] = 0;
        this.#onEvict(id);
      }
      this.#refCounts[id] = 1;
      taken.push(id);
    }
    return taken;
  }

  /** One more holder of each of these held blocks. @throws AppError INVARIANT_VIOLATED when one is free */
  fork(ids: readonly number[]): void {
    for (const id of ids) this.#refCounts[id] = this.#countOf(id) + 1;
  }

  /** One more holder of each of these blocks with content, free or held. @throws AppError INVARIANT_VIOLATED when one has none */
  share(ids: readonly number[]): void {
    for (const id of ids) {
      if (this.#hasContent[id] !== 1) throw broken(`block ${id} has no content to share`);
      if (this.#refCounts[id] === 0) this.#dequeue(id);
      this.#refCounts[id] = this.refCount(id) + 1;
    }
  }

  /** The prefix cache knows this held block's content from now on, until onEvict. @throws AppError INVARIANT_VIOLATED when it is free */
  keepContent(id: number): void {
    this.#countOf(id);
    this.#hasContent[id] = 1;
  }

  /** Whether the prefix cache knows this block's content: whoever writes there takes a copy first. */
  hasContent(id: number): boolean {
    return this.#hasContent[id] === 1;
  }

  /**
   * Gives up one reference each, in this order; a block without references is free.
   * @throws AppError INVARIANT_VIOLATED when one is free already
   */
  free(ids: readonly number[]): void {
    for (const id of ids) {
      const left = this.#countOf(id) - 1;
      this.#refCounts[id] = left;
      if (left > 0) continue;
      this.#enqueue(id, this.#hasContent[id] === 1 ? this.#at(this.#previous) : this.numBlocks);
    }
  }

  /** Holders of a block; 0 = free. */
  refCount(id: number): number {
    return this.#refCounts[id] ?? 0;
  }

  /**
   * Free and held blocks are disjoint and together all blocks, and every reference is in one of the block tables.
   * @param blockTables those of all holders
   * @throws AppError INVARIANT_VIOLATED, saying what is wrong
   */
  checkIntegrity(blockTables: Iterable<readonly number[]>): void {
    const isFree = new Uint8Array(this.numBlocks);
    let numFree = 0;
    let numCached = 0;
    for (let id = this.#at(this.#next); id !== this.numBlocks; id = this.#next[id] ?? 0) {
      if (isFree[id] !== 0) throw broken(`block ${id} is free twice`);
      isFree[id] = 1;
      numFree += 1;
      numCached += this.#hasContent[id] ?? 0;
    }
    if (numFree !== this.#numFree || numCached !== this.#numCached) {
      throw broken(
        `${numFree} blocks are free and ${numCached} cached, counted as ${this.#numFree} and ${this.#numCached}`,
      );
    }
    const numHolders = new Int32Array(this.numBlocks);
    for (const table of blockTables) {
      for (const id of table) numHolders[id] = (numHolders[id] ?? 0) + 1;
    }
    for (let id = 0; id < this.numBlocks; id += 1) {
      const count = this.refCount(id);
      if ((isFree[id] === 1) !== (count === 0)) {
        throw broken(
          `block ${id} has ${count} references and is ${isFree[id] === 1 ? '' : 'not '}free`,
        );
      }
      if (count !== numHolders[id]) {
        throw broken(`block ${id} has ${count} references and ${numHolders[id] ?? 0} holders`);
      }
    }
  }

  /** Puts a block into the queue behind `before`. */
  #enqueue(id: number, before: number): void {
    const after = this.#next[before] ?? 0;
    this.#next[before] = id;
    this.#previous[id] = before;
    this.#next[id] = after;
    this.#previous[after] = id;
    this.#numFree += 1;
    this.#numCached += this.#hasContent[id] ?? 0;
  }

  #dequeue(id: number): void {
    const before = this.#previous[id] ?? 0;
    const after = this.#next[id] ?? 0;
    this.#next[before] = after;
    this.#previous[after] = before;
    this.#numFree -= 1;
    this.#numCached -= this.#hasContent[id] ?? 0;
  }

  /** The first (of next) or last (of previous) of the queue. */
  #at(links: Int32Array): number {
    return links[this.numBlocks] ?? 0;
  }

  #countOf(id: number): number {
    const count = this.#refCounts[id];
    if (count === undefined || count < 1) throw broken(`block ${id} is not held`);
    return count;
  }
}

function broken(message: string): AppError {
  return new AppError('INVARIANT_VIOLATED', { message });
}
