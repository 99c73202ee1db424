// Who holds which KV block. It knows ids and reference counts; the memory itself is native.
//
//   0 … numBlocks-1   every block is either free (in the queue, count 0) or held (not in the queue, count ≥ 1)
//
// Free blocks form a queue: the one freed first is taken first, which is the order of eviction once freed blocks may
// still carry cached content. So whoever frees a table frees it from its end: beginnings are shared more often.
import { AppError } from '../contracts/errors.ts';

export class BlockAllocator {
  readonly numBlocks: number;
  readonly #refCounts: Int32Array;
  /** Ring buffer of free block ids: #numFree of them from #head on. */
  readonly #queue: Int32Array;
  #head = 0;
  #numFree: number;

  /** All blocks are free. @throws AppError INVALID_REQUEST unless numBlocks ≥ 1 */
  constructor(numBlocks: number) {
    if (!Number.isInteger(numBlocks) || numBlocks < 1) {
      throw new AppError('INVALID_REQUEST', {
        message: `a KV pool has at least one block, not ${numBlocks}`,
      });
    }
    this.numBlocks = numBlocks;
    this.#refCounts = new Int32Array(numBlocks);
    this.#queue = Int32Array.from({ length: numBlocks }, (_, id) => id);
    this.#numFree = numBlocks;
  }

  get numFree(): number {
    return this.#numFree;
  }

  get numUsed(): number {
    return this.numBlocks - this.#numFree;
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
      const id = this.#queue[this.#head] ?? 0;
      this.#head = (this.#head + 1) % this.numBlocks;
      this.#refCounts[id] = 1;
      taken.push(id);
    }
    this.#numFree -= count;
    return taken;
  }

  /** One more holder of each of these held blocks. @throws AppError INVARIANT_VIOLATED when one is free */
  fork(ids: readonly number[]): void {
    for (const id of ids) this.#refCounts[id] = this.#countOf(id) + 1;
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
      this.#queue[(this.#head + this.#numFree) % this.numBlocks] = id;
      this.#numFree += 1;
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
    for (let index = 0; index < this.#numFree; index += 1) {
      const id = this.#queue[(this.#head + index) % this.numBlocks] ?? -1;
      if (isFree[id] !== 0) throw broken(`block ${id} is free twice`);
      isFree[id] = 1;
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

  #countOf(id: number): number {
    const count = this.#refCounts[id];
    if (count === undefined || count < 1) throw broken(`block ${id} is not held`);
    return count;
  }
}

function broken(message: string): AppError {
  return new AppError('INVARIANT_VIOLATED', { message });
}
