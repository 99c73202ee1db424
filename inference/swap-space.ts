// Blocks beside the pool where preempted sequences wait with what was computed of them. Copies are listed here and made
// by the executor before the next step writes anything, in this order.
import { BlockAllocator } from './block-allocator.ts';

/** Ids below numBlocks are the pool's, those behind are of the swap space. */
export interface BlockCopy {
  readonly source: number;
  readonly target: number;
}

export class SwapSpace {
  readonly #firstId: number;
  readonly #blocks: BlockAllocator | null;

  /** @param firstId the number of blocks of the pool */
  constructor(firstId: number, numBlocks: number) {
    this.#firstId = firstId;
    this.#blocks = numBlocks > 0 ? new BlockAllocator(numBlocks) : null;
  }

  get numUsed(): number {
    return this.#blocks?.numUsed ?? 0;
  }

  /** So many ids, or null when there is not enough room. */
  allocate(count: number): number[] | null {
    return this.#blocks?.allocate(count)?.map((id) => id + this.#firstId) ?? null;
  }

  free(ids: readonly number[]): void {
    this.#blocks?.free(ids.map((id) => id - this.#firstId));
  }

  /** @throws AppError INVARIANT_VIOLATED unless exactly these are taken */
  checkIntegrity(tables: readonly (readonly number[])[]): void {
    this.#blocks?.checkIntegrity(tables.map((ids) => ids.map((id) => id - this.#firstId)));
  }
}
