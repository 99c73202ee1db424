// Who holds which KV block. It knows ids and reference counts; the memory itself is native. Blocks are 16 tokens.
//
//   0 … numBlocks-1   every block is either free (in the queue, count 0) or held (not in the queue, count ≥ 1)
//
// Free blocks form a queue: the one freed first is taken first, which is the order of eviction once freed blocks may
// still carry cached content.
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
      throw new AppError('INVALID_REQUEST', { message: `a KV pool has at least one block, not ${numBlocks}` });
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

  /** Takes `count` blocks, each with one reference, or none at all: null when there are not enough. */
  allocate(count: number): number[] | null {
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

  /** One more holder of a held block. @throws AppError INVARIANT_VIOLATED when it is free */
  share(id: number): void {
    this.#refCounts[id] = this.#countOf(id) + 1;
  }

  /** Gives up one reference each; a block without references is free. @throws AppError INVARIANT_VIOLATED on a free block */
  free(ids: readonly number[]): void {
    for (const id of ids) {
      const left = this.#countOf(id) - 1;
      this.#refCounts[id] = left;
      if (left > 0) continue;
      this.#queue[(this.#head + this.#numFree) % this.numBlocks] = id;
      this.#numFree += 1;
    }
  }

  refCount(id: number): number {
    return this.#refCounts[id] ?? 0;
  }

  /** Free and held blocks are disjoint and together all blocks. @throws AppError INVARIANT_VIOLATED, saying what is wrong */
  checkIntegrity(): void {
    const seen = new Set<number>();
    for (let index = 0; index < this.#numFree; index += 1) {
      const id = this.#queue[(this.#head + index) % this.numBlocks] ?? -1;
      if (seen.has(id)) throw broken(`block ${id} is free twice`);
      if (this.refCount(id) !== 0) throw broken(`block ${id} is free and held`);
      seen.add(id);
    }
    for (let id = 0; id < this.numBlocks; id += 1) {
      if (!seen.has(id) && this.refCount(id) < 1) throw broken(`block ${id} is neither free nor held`);
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
