// Which blocks hold which beginnings of sequences. A full block is named by a chain of hashes: its parent's name, its
// scope, its tokens; so a name stands for the whole beginning, and for who may reuse it. Content is never computed
// twice while its block is not needed for something else, and a hit is bit for bit what computing would have given.
// Source: vLLM's automatic prefix caching; the per-tenant salt against timing probes is its RFC 16016.
import { createHash } from 'node:crypto';
import type { BlockAllocator } from './block-allocator.ts';
import type { Sequence } from './sequence.ts';

/** What is looked at of a sequence; a draft model's has the same. */
type CachedSequence = Pick<
  Sequence,
  'request' | 'blockKeys' | 'blockTable' | 'numComputedTokens' | 'numRegisteredBlocks'
> & { readonly tokenIds: readonly number[] };

interface CachedBlock {
  readonly key: string;
  /** [blockSize] */
  readonly tokenIds: readonly number[];
}

export interface PrefixCacheStats {
  /** Tokens of admitted sequences, and how many of them were found computed. */
  readonly queriedTokens: number;
  readonly hitTokens: number;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
const ROOT = sha256('colloquy prefix cache 1').toString('binary');
/** The scope of what every tenant sends alike. */
const SHARED = Buffer.alloc(32);

export class PrefixCache {
  readonly #blocks: BlockAllocator;
  readonly #blockSize: number;
  readonly #idOf = new Map<string, number>();
  readonly #cached: (CachedBlock | undefined)[] = [];
  #queriedTokens = 0;
  #hitTokens = 0;

  /** @param blocks must tell forget() of its evictions */
  constructor(blocks: BlockAllocator, blockSize: number) {
    this.#blocks = blocks;
    this.#blockSize = blockSize;
  }

  get stats(): PrefixCacheStats {
    return { queriedTokens: this.#queriedTokens, hitTokens: this.#hitTokens };
  }

  /** Blocks, in order, that hold the longest known beginning. At least one token is left to compute: its row is sampled. */
  match(sequence: CachedSequence): number[] {
    const found: number[] = [];
    if (sequence.request.cacheScope === null) return found;
    const most = Math.floor((sequence.tokenIds.length - 1) / this.#blockSize);
    for (const [index, key] of this.#keysOf(sequence, most).entries()) {
      const id = this.#idOf.get(key);
      if (id === undefined || !this.#holds(id, sequence, index)) break;
      found.push(id);
    }
    return found;
  }

  /** Counts an admission. @param numHits blocks of match() that it took */
  count(sequence: Sequence, numHits: number): void {
    if (sequence.request.cacheScope === null) return;
    this.#queriedTokens += sequence.tokenIds.length;
    this.#hitTokens += numHits * this.#blockSize;
  }

  /** Makes the blocks that a step has completed findable. Whoever computed the same content first keeps the name. */
  register(sequence: CachedSequence): void {
    if (sequence.request.cacheScope === null) return;
    const numFull = Math.floor(sequence.numComputedTokens / this.#blockSize);
    if (sequence.numRegisteredBlocks >= numFull) return;
    const keys = this.#keysOf(sequence, numFull);
    for (; sequence.numRegisteredBlocks < numFull; sequence.numRegisteredBlocks += 1) {
      const index = sequence.numRegisteredBlocks;
      const key = keys[index];
      const id = sequence.blockTable[index];
      if (key === undefined || id === undefined || this.#idOf.has(key)) continue;
      this.#idOf.set(key, id);
      this.#cached[id] = { key, tokenIds: this.#tokensOf(sequence, index) };
      this.#blocks.keepContent(id);
    }
  }

  /** The content of a block is about to be overwritten. */
  forget(id: number): void {
    const cached = this.#cached[id];
    if (cached !== undefined) this.#idOf.delete(cached.key);
    this.#cached[id] = undefined;
  }

  /** The name decides; the tokens are compared all the same, so that no collision can ever mix two texts. */
  #holds(id: number, sequence: CachedSequence, index: number): boolean {
    const start = index * this.#blockSize;
    return (
      this.#cached[id]?.tokenIds.every(
        (tokenId, offset) => tokenId === sequence.tokenIds[start + offset],
      ) ?? false
    );
  }

  #tokensOf(sequence: CachedSequence, index: number): number[] {
    return sequence.tokenIds.slice(index * this.#blockSize, (index + 1) * this.#blockSize);
  }

  /** Names of the first `count` blocks; what is not known yet is hashed now. */
  #keysOf(sequence: CachedSequence, count: number): string[] {
    const { blockKeys, request } = sequence;
    if (blockKeys.length < count) {
      const { tenant = '', numSharedTokens = 0 } = request.cacheScope ?? {};
      const own = sha256(tenant);
      for (let next = blockKeys.length; next < count; next += 1) {
        const isShared = (next + 1) * this.#blockSize <= numSharedTokens;
        const hash = createHash('sha256')
          .update(blockKeys[next - 1] ?? ROOT, 'binary')
          .update(isShared ? SHARED : own)
          .update(new Uint8Array(Int32Array.from(this.#tokensOf(sequence, next)).buffer));
        blockKeys.push(hash.digest('binary'));
      }
    }
    return blockKeys.slice(0, count);
  }
}
