// Which blocks hold which beginnings of sequences. A full block is named by a chain of hashes: its parent's name, its
// scope, its tokens; so a name stands for the whole beginning, and for who may reuse it. Content is never computed
// twice while its block is not needed for something else, and a hit is bit for bit what computing would have given.
// Behind the last block that is found whole, another may begin with the same tokens: those are found too, and whoever
// writes behind them does so in a copy.
// Source: vLLM's automatic prefix caching; the per-tenant salt against timing probes is its RFC 16016. Hits that end within
// a block are SGLang's (arXiv 2312.07104), whose tree has a node for every token.
import { createHash } from 'node:crypto';
import type { BlockAllocator } from './block-allocator.ts';
import type { Sequence } from './sequence.ts';

/** What is looked at of a sequence; a draft model's has the same. */
type CachedSequence = Pick<
  Sequence,
  'request' | 'blockKeys' | 'blockTable' | 'numComputedTokens' | 'numRegisteredBlocks'
> & { readonly tokenIds: readonly number[] };

interface CachedBlock {
  /** Null for the last block of a sequence that ended within it. */
  readonly key: string | null;
  /** [blockSize], or fewer without a key. */
  readonly tokenIds: readonly number[];
  /** The names of its beginnings, one for each of START_LENGTHS that it has. */
  readonly starts: readonly string[];
}

/** A block whose first `numTokens` tokens go on where the found blocks end. It is another's: it is copied before it is written. */
export interface BlockStart {
  readonly id: number;
  readonly numTokens: number;
}

/** So much of a block is looked up by name, longest first, as parts of its size; one token always is. */
const START_PARTS = [3 / 4, 1 / 2, 1 / 4];

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
  /** The block that was registered last with such a beginning. */
  readonly #idOfStart = new Map<string, number>();
  readonly #startLengths: readonly number[];
  readonly #cached: (CachedBlock | undefined)[] = [];
  #queriedTokens = 0;
  #hitTokens = 0;

  /** @param blocks must tell forget() of its evictions */
  constructor(blocks: BlockAllocator, blockSize: number) {
    this.#blocks = blocks;
    this.#blockSize = blockSize;
    const lengths = [...START_PARTS.map((part) => Math.floor(part * blockSize)), 1];
    this.#startLengths = lengths.filter((length, at) => length > (lengths[at + 1] ?? 0));
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

  /** Where more of the sequence is found than its first `numHits` blocks, which match() gave. */
  matchStart(sequence: CachedSequence, numHits: number): BlockStart | null {
    if (sequence.request.cacheScope === null) return null;
    const wanted = this.#tokensOf(sequence, numHits, sequence.tokenIds.length - 1);
    const parent = this.#keysOf(sequence, numHits)[numHits - 1] ?? ROOT;
    for (const length of this.#startLengths) {
      if (length > wanted.length) continue;
      const id = this.#idOfStart.get(this.#startName(sequence, numHits, parent, wanted, length));
      const { tokenIds = [] } = (id === undefined ? undefined : this.#cached[id]) ?? {};
      const numEqual = wanted.findIndex((tokenId, at) => tokenId !== tokenIds[at]);
      const numTokens = numEqual < 0 ? wanted.length : numEqual;
      if (id !== undefined && numTokens > 0) return { id, numTokens };
    }
    return null;
  }

  /** Counts an admission. @param numHits tokens that match() and matchStart() spared it */
  count(sequence: Sequence, numHits: number): void {
    if (sequence.request.cacheScope === null) return;
    this.#queriedTokens += sequence.tokenIds.length;
    this.#hitTokens += numHits;
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
      this.#keep(id, sequence, index, key, keys[index - 1] ?? ROOT);
    }
  }

  /**
   * A sequence is about to give its blocks up: makes the last one findable by its beginning, unless somebody else is
   * writing in it too.
   */
  registerLast(sequence: CachedSequence): void {
    if (sequence.request.cacheScope === null) return;
    const index = Math.floor(sequence.numComputedTokens / this.#blockSize);
    const id = sequence.blockTable[index];
    if (id === undefined || sequence.numComputedTokens % this.#blockSize === 0) return;
    if (sequence.numRegisteredBlocks !== index || this.#blocks.refCount(id) !== 1) return;
    if (this.#cached[id] !== undefined) return;
    this.#keep(id, sequence, index, null, this.#keysOf(sequence, index)[index - 1] ?? ROOT);
  }

  /** The content of a block is about to be overwritten. */
  forget(id: number): void {
    const cached = this.#cached[id];
    if (cached === undefined) return;
    if (cached.key !== null) this.#idOf.delete(cached.key);
    for (const start of cached.starts)
      if (this.#idOfStart.get(start) === id) this.#idOfStart.delete(start);
    this.#cached[id] = undefined;
  }

  #keep(
    id: number,
    sequence: CachedSequence,
    index: number,
    key: string | null,
    parent: string,
  ): void {
    const computed = this.#tokensOf(sequence, index, sequence.numComputedTokens);
    const starts = this.#startLengths
      .filter((length) => length <= computed.length)
      .map((length) => this.#startName(sequence, index, parent, computed, length));
    if (key !== null) this.#idOf.set(key, id);
    for (const start of starts) this.#idOfStart.set(start, id);
    this.#cached[id] = { key, tokenIds: computed, starts };
    this.#blocks.keepContent(id);
  }

  /** Of the first `length` tokens of a block: whom it follows, who may reuse it, what it says. */
  #startName(
    sequence: CachedSequence,
    index: number,
    parent: string,
    tokenIds: readonly number[],
    length: number,
  ): string {
    const scope = this.#scopeOf(sequence, index).toString('binary');
    return `${parent}${scope}${tokenIds.slice(0, length).join()}`;
  }

  /** Only a block that all tenants send alike to its end is everybody's. */
  #scopeOf({ request }: CachedSequence, index: number): Buffer {
    const { tenant = '', numSharedTokens = 0 } = request.cacheScope ?? {};
    return (index + 1) * this.#blockSize <= numSharedTokens ? SHARED : sha256(tenant);
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

  /** A block's tokens, those before position `end`. */
  #tokensOf({ tokenIds }: CachedSequence, index: number, end = Infinity): number[] {
    const start = index * this.#blockSize;
    return tokenIds.slice(start, Math.min(start + this.#blockSize, end));
  }

  /** Names of the first `count` blocks; what is not known yet is hashed now. */
  #keysOf(sequence: CachedSequence, count: number): string[] {
    const { blockKeys } = sequence;
    for (let next = blockKeys.length; next < count; next += 1) {
      const hash = createHash('sha256')
        .update(blockKeys[next - 1] ?? ROOT, 'binary')
        .update(this.#scopeOf(sequence, next))
        .update(new Uint8Array(Int32Array.from(this.#tokensOf(sequence, next)).buffer));
      blockKeys.push(hash.digest('binary'));
    }
    return blockKeys.slice(0, count);
  }
}
