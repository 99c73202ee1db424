// A small model that guesses for a large one. It has a KV pool, block tables and a prefix cache of its own, computes what it
// lacks of a sequence when it is asked, and takes nothing from the large model but time.
import { AppError } from '../contracts/errors.ts';
import { BlockAllocator } from './block-allocator.ts';
import { buildBatch } from './batch-builder.ts';
import { DraftSequence } from './draft-sequence.ts';
import type { DraftExecutor } from './forward-batch.ts';
import { PrefixCache } from './prefix-cache.ts';
import type { Sequence } from './sequence.ts';
import { StepCost } from './step-cost.ts';

/** A sequence, and how many tokens are wanted behind it, at least one. */
export interface DraftRequest {
  readonly sequence: Sequence;
  readonly count: number;
}

/** Believed of a guess before anything was tried. */
const PRIOR_RATE = 0.6;
/** Weight of each new guess in its sequence's rate, and in that of all, from which new sequences start. */
const LEARNING_RATE = 0.1;
const SHARED_LEARNING_RATE = 0.01;
/** How fast a rate too low to be tried drifts back. */
const DRIFT = 0.003;

export class DraftModel {
  readonly #executor: DraftExecutor;
  readonly #blocks: BlockAllocator;
  readonly #cache: PrefixCache;
  readonly #sequences = new Map<Sequence, DraftSequence>();
  /** What its steps cost. */
  readonly cost = new StepCost();
  #sharedRate = PRIOR_RATE;

  /**
   * @param executor its owner closes it
   * @param blockSize the large model's
   * @throws AppError INVALID_REQUEST when its blocks have another size
   */
  constructor(executor: DraftExecutor, blockSize: number) {
    if (executor.blockSize !== blockSize) {
      throw new AppError('INVALID_REQUEST', {
        message: `the draft model has blocks of ${executor.blockSize} tokens, the model of ${blockSize}`,
      });
    }
    this.#executor = executor;
    this.#blocks = new BlockAllocator(executor.numBlocks, (id) => this.#cache.forget(id));
    this.#cache = new PrefixCache(this.#blocks, blockSize);
  }

  get kvBlocks(): { readonly free: number; readonly used: number; readonly cached: number } {
    const { numFree, numUsed, numCached } = this.#blocks;
    return { free: numFree - numCached, used: numUsed, cached: numCached };
  }

  /** How often its guesses for a sequence are right. */
  rateOf(sequence: Sequence): number {
    return this.#sequences.get(sequence)?.rate ?? this.#sharedRate;
  }

  /** Most tokens that its context lets it guess behind a sequence. */
  roomFor(sequence: Sequence): number {
    return this.#executor.contextLength - sequence.tokenIds.length;
  }

  /** Tokens that it would have to run before it can guess. */
  numPending(sequence: Sequence): number {
    const known = this.#sequences.get(sequence);
    known?.follow();
    return known?.numPendingTokens ?? sequence.tokenIds.length;
  }

  /**
   * Guesses, in one step of the executor for each token. Who has no room in the pool gets none; who lacks more tokens than
   * `maxTokens` leaves catches up by what it leaves.
   * @param maxTokens of the first step, over all sequences
   * @param callback hears the guesses, in any order, on a later turn of the event loop; or at once when nothing can be run
   */
  propose(
    requests: readonly DraftRequest[],
    maxTokens: number,
    callback: (error: Error | null, guesses: ReadonlyMap<Sequence, readonly number[]>) => void,
  ): void {
    const scheduled = this.#schedule(requests, maxTokens);
    if (scheduled.length === 0) {
      callback(null, new Map());
      return;
    }
    const { batch } = buildBatch(scheduled, this.#executor.blockSize);
    const counts = Uint32Array.from(scheduled, ({ count }) => count);
    const startedAt = performance.now();
    this.#executor.propose(batch, counts, (error, ids) => {
      const numSteps = Math.max(1, ...counts);
      const numGuesses = counts.reduce((sum, count) => sum + count, 0);
      if (error !== null || ids?.length !== numGuesses) {
        callback(error ?? new AppError('INVARIANT_VIOLATED'), new Map());
        return;
      }
      // Every guess but the last of a sequence was a row as well.
      const numGuessing = counts.filter((count) => count > 0).length;
      const numRows = batch.tokenIds.length + numGuesses - numGuessing;
      this.cost.observe(numRows / numSteps, (performance.now() - startedAt) / numSteps);
      const guesses = new Map<Sequence, readonly number[]>();
      let first = 0;
      for (const { owner, sequence, numTokens, count } of scheduled) {
        const own = [...ids.subarray(first, (first += count))];
        sequence.advance(numTokens, own.slice(0, -1));
        this.#cache.register(sequence);
        if (count > 0) guesses.set(owner, own);
      }
      callback(null, guesses);
    });
  }

  /** The model agreed with the first `numAccepted` of `numGuesses` guesses. */
  settle(owner: Sequence, numGuesses: number, numAccepted: number): void {
    const sequence = this.#sequences.get(owner);
    for (let offset = 0; offset < Math.min(numAccepted + 1, numGuesses); offset += 1) {
      const outcome = offset < numAccepted ? 1 : 0;
      this.#sharedRate += SHARED_LEARNING_RATE * (outcome - this.#sharedRate);
      if (sequence !== undefined) sequence.rate += LEARNING_RATE * (outcome - sequence.rate);
    }
  }

  /** It was not worth asking for this sequence: in time it will be tried again. */
  drift(owner: Sequence): void {
    const sequence = this.#sequences.get(owner);
    if (sequence === undefined) this.#sharedRate += DRIFT * (PRIOR_RATE - this.#sharedRate);
    else sequence.rate += DRIFT * (PRIOR_RATE - sequence.rate);
  }

  /** A sequence is over, or has lost its own blocks: those it has here are free. */
  forget(owner: Sequence): void {
    const sequence = this.#sequences.get(owner);
    if (sequence === undefined) return;
    this.#sequences.delete(owner);
    this.#blocks.free([...sequence.blockTable].reverse());
  }

  /** @throws AppError INVARIANT_VIOLATED when blocks are lost or held twice, or one is held for no live sequence */
  checkIntegrity(live: readonly Sequence[]): void {
    const tables = live.map((sequence) => this.#sequences.get(sequence)?.blockTable ?? []);
    this.#blocks.checkIntegrity(tables);
  }

  #schedule(
    requests: readonly DraftRequest[],
    maxTokens: number,
  ): {
    readonly owner: Sequence;
    readonly sequence: DraftSequence;
    readonly numTokens: number;
    readonly count: number;
  }[] {
    let left = maxTokens;
    return requests.flatMap(({ sequence: owner, count: wanted }) => {
      const sequence = this.#sequenceOf(owner);
      sequence.follow();
      this.#cache.register(sequence);
      const numTokens = Math.min(sequence.numPendingTokens, left);
      const count = numTokens < sequence.numPendingTokens ? 0 : wanted;
      if (numTokens < 1 || !this.#grow(sequence, count)) return [];
      left -= numTokens;
      return [{ owner, sequence, numTokens, count }];
    });
  }

  #sequenceOf(owner: Sequence): DraftSequence {
    let sequence = this.#sequences.get(owner);
    if (sequence === undefined) {
      sequence = new DraftSequence(owner, this.#sharedRate);
      this.#sequences.set(owner, sequence);
      const hits = this.#cache.match(sequence);
      this.#blocks.share(hits);
      sequence.adoptBlocks(hits, hits.length * this.#executor.blockSize);
    }
    return sequence;
  }

  /** Blocks for all its tokens and all guesses but the last, which is not run. */
  #grow(sequence: DraftSequence, count: number): boolean {
    const numSlots = sequence.tokenIds.length + Math.max(0, count - 1);
    const numNeeded = Math.ceil(numSlots / this.#executor.blockSize);
    const blocks = this.#blocks.allocate(Math.max(0, numNeeded - sequence.blockTable.length));
    if (blocks === null) return false;
    sequence.blockTable.push(...blocks);
    return true;
  }
}
