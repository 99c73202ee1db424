// Which sequences run in the next step, and how many tokens of each. Policy over block counts; it runs nothing.
//
// There is no prefill and no decode phase: every sequence has computed tokens and tokens, and a step lets it catch up by
// some of the difference. Source: vLLM's unified scheduler; Sarathi-Serve's stall-free chunks (arXiv 2403.02310).
//
// One step's budget, in this order:
//   1. sequences that lack one token: each gets its row, so a prompt, however long or urgent, never stalls a reply;
//   2. sequences that lack more, running or admitted now, in order of service, in chunks of what is left.
// A sequence is admitted with blocks for all it is known to need, so only row 1 can run out of blocks; then the last in
// order of service gives its blocks up, keeps its tokens, and is computed again later. Nobody is ended for it.
import { AppError } from '../contracts/errors.ts';
import type { BlockAllocator } from './block-allocator.ts';
import type { PreemptionCost } from './preemption-cost.ts';
import type { BlockStart, PrefixCache } from './prefix-cache.ts';
import { compareService } from './sequence.ts';
import type { Sequence } from './sequence.ts';
import type { Draft } from './speculator.ts';
import type { BlockCopy, SwapSpace } from './swap-space.ts';

export interface SchedulerOptions {
  /** Tokens of one step, over all sequences; at least maxNumSeqs, so that each can have its row. */
  readonly maxNumBatchedTokens: number;
  /** Sequences that run at once. */
  readonly maxNumSeqs: number;
  readonly blockSize: number;
}

export interface ScheduledSequence {
  readonly sequence: Sequence;
  /** Tokens to run, from numComputedTokens on. */
  readonly numTokens: number;
  /** Guesses that are run behind them; the speculator's. */
  readonly draft?: Draft | undefined;
}

export interface Schedule {
  readonly scheduled: readonly ScheduledSequence[];
  /** Lost their blocks to others in this schedule; they are waiting again. */
  readonly preempted: readonly Sequence[];
  /** Beams whose search begins anew, without them: it lost its blocks, and one beam stands for all again. */
  readonly dropped: readonly Sequence[];
  /** Running ones that their callers hold back: they have lost their blocks. */
  readonly held: readonly Sequence[];
  /** To be made before the step writes anything, in this order. */
  readonly copies: readonly BlockCopy[];
}

/** What the scheduler hands out and who knows what it is worth. */
export interface SchedulerMemory {
  readonly blocks: BlockAllocator;
  readonly cache: PrefixCache;
  readonly swap: SwapSpace;
  readonly cost: PreemptionCost;
}

/** A prompt that would fill more steps than this gives half of each to those behind it: they need few tokens, it many. */
const LONG_PROMPT_STEPS = 4;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #blocks: BlockAllocator;
  readonly #cache: PrefixCache;
  readonly #swap: SwapSpace;
  readonly #cost: PreemptionCost;
  #copies: BlockCopy[] = [];
  #dropped: Sequence[] = [];
  /** In order of service; preempted sequences are among them. */
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  /** Held back by their callers. */
  readonly #held: Sequence[] = [];

  /** @throws AppError INVALID_REQUEST when the budget is smaller than the number of sequences */
  constructor(options: SchedulerOptions, { blocks, cache, swap, cost }: SchedulerMemory) {
    const { maxNumBatchedTokens, maxNumSeqs } = options;
    if (!(maxNumSeqs >= 1 && maxNumBatchedTokens >= maxNumSeqs)) {
      throw new AppError('INVALID_REQUEST', {
        message: `maxNumBatchedTokens is ${maxNumBatchedTokens}; it must be at least maxNumSeqs, which is ${maxNumSeqs} and must be at least 1`,
      });
    }
    this.#options = options;
    this.#blocks = blocks;
    this.#cache = cache;
    this.#swap = swap;
    this.#cost = cost;
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  get numHeld(): number {
    return this.#held.length;
  }

  /** Queues a waiting or preempted sequence behind those that are served before it. */
  add(sequence: Sequence): void {
    const at = this.#waiting.findIndex((other) => compareService(sequence, other) < 0);
    this.#waiting.splice(at < 0 ? this.#waiting.length : at, 0, sequence);
  }

  /** Takes a sequence out of either list and frees its blocks. Not while its step is under way. */
  remove(sequence: Sequence): void {
    for (const list of [this.#waiting, this.#running, this.#held]) {
      const at = list.indexOf(sequence);
      if (at >= 0) list.splice(at, 1);
    }
    this.#free(sequence);
    this.#dropSwapped(sequence);
  }

  /** Queues a sequence again that was held back, if it had been taken out by then. */
  letGo(sequence: Sequence): void {
    const at = this.#held.indexOf(sequence);
    if (at < 0) return;
    this.#held.splice(at, 1);
    this.add(sequence);
  }

  /** The other replies of a sequence whose prompt is computed; they run beside it from now on and share its blocks. */
  fork(sequence: Sequence): Sequence[] {
    const numBlocks = Math.ceil(sequence.numComputedTokens / this.#options.blockSize);
    const shared = sequence.blockTable.slice(0, numBlocks);
    const forks: Sequence[] = [];
    for (let index = 1; index < sequence.numSeats; index += 1) {
      this.#blocks.fork(shared);
      forks.push(sequence.fork(index, shared));
    }
    sequence.endForking();
    this.#running.push(...forks);
    return forks;
  }

  /** Another beam beside one whose tokens are all computed; it shares the blocks. */
  branch(sequence: Sequence, sampleIndex: number): Sequence {
    const shared = [...sequence.blockTable];
    this.#blocks.fork(shared);
    const branch = sequence.branch(sampleIndex, shared);
    this.#running.push(branch);
    return branch;
  }

  /** @throws AppError INVARIANT_VIOLATED when blocks, of the pool or swapped, are lost or held twice */
  checkIntegrity(sequences: readonly Sequence[]): void {
    this.#blocks.checkIntegrity(sequences.map(({ blockTable }) => blockTable));
    this.#swap.checkIntegrity(sequences.map(({ swapped }) => swapped?.blocks ?? []));
  }

  /**
   * The next step. It changes block tables, states and the two lists, and nothing of the executor's. Empty when, and
   * only when, there is no sequence.
   */
  schedule(): Schedule {
    this.#copies = [];
    this.#dropped = [];
    const held = this.#takeOutHeld();
    const preempted: Sequence[] = [];
    let scheduled: ScheduledSequence[] = [];
    const running = [...this.#running].sort(compareService);
    for (const sequence of running) {
      if (sequence.state !== 'running' || sequence.numPendingTokens > 1) continue;
      if (this.#growByPreemption(sequence, preempted)) scheduled.push({ sequence, numTokens: 1 });
    }
    // A search that lost a beam's blocks has lost those before it too, for which there was room.
    if (this.#dropped.length > 0)
      scheduled = scheduled.filter(({ sequence }) => sequence.state === 'running');
    const lagging = running.filter((each) => each.state === 'running' && each.numPendingTokens > 1);
    const budget = this.#options.maxNumBatchedTokens - scheduled.length;
    scheduled.push(...this.#catchUp(lagging, budget));
    return { scheduled, preempted, dropped: this.#dropped, held, copies: this.#copies };
  }

  /**
   * Finds room for up to `numTokens` guesses behind a scheduled sequence, at nobody's expense.
   * @returns how many have room
   */
  reserve(sequence: Sequence, numTokens: number): number {
    const { blockSize } = this.#options;
    const numSpare = sequence.blockTable.length * blockSize - sequence.tokenIds.length;
    const numMissing = Math.max(0, Math.ceil((numTokens - numSpare) / blockSize));
    if (numMissing === 0) return numTokens;
    const blocks =
      numMissing + this.#numSeats > this.#blocks.numFree ? null : this.#blocks.allocate(numMissing);
    if (blocks === null) return numSpare;
    sequence.appendBlocks(blocks);
    return numTokens;
  }

  /** What was computed of them stays known to the prefix cache as long as nobody needs the room. */
  #takeOutHeld(): Sequence[] {
    const taken = [...this.#waiting, ...this.#running].filter(({ isHeld }) => isHeld);
    const running = taken.filter(({ state }) => state === 'running');
    for (const sequence of taken) {
      const list = sequence.state === 'running' ? this.#running : this.#waiting;
      list.splice(list.indexOf(sequence), 1);
      this.#held.push(sequence);
    }
    for (const sequence of running) {
      this.#free(sequence);
      sequence.become('preempted');
    }
    return running;
  }

  /** Shares `budget` among `lagging`, which is in order of service, and the waiting sequences that fit. */
  #catchUp(lagging: readonly Sequence[], budget: number): ScheduledSequence[] {
    const shares: { readonly sequence: Sequence; numTokens: number }[] = [];
    let left = budget;
    let isAdmitting = true;
    for (let index = 0; left > 0;) {
      const next = lagging[index];
      const head = isAdmitting ? this.#waiting[0] : undefined;
      let sequence: Sequence;
      if (head !== undefined && (next === undefined || compareService(head, next) < 0)) {
        // Nobody overtakes the head: else a large prompt would starve behind small ones. It also keeps whoever was just
        // preempted out: it lacks at least the block that was taken from it, and nobody behind it is asked.
        isAdmitting = this.#admit(head);
        if (!isAdmitting) continue;
        sequence = head;
      } else if (next !== undefined) {
        sequence = next;
        index += 1;
      } else break;
      const numPending = sequence.numPendingTokens;
      const isLong = numPending > LONG_PROMPT_STEPS * this.#options.maxNumBatchedTokens;
      const numTokens = Math.min(numPending, isLong ? Math.ceil(left / 2) : left);
      shares.push({ sequence, numTokens });
      left -= numTokens;
    }
    // What nobody behind a long prompt wanted is its again.
    for (const share of shares) {
      const more = Math.min(share.sequence.numPendingTokens - share.numTokens, left);
      share.numTokens += more;
      left -= more;
    }
    return shares;
  }

  /** Makes a waiting sequence a running one if there is a seat and room for it. */
  #admit(sequence: Sequence): boolean {
    if (this.#numSeats + sequence.numSeats > this.#options.maxNumSeqs) return false;
    // One block for each that runs stays free: without it the next that grows would preempt the one admitted last, and
    // its prompt would be computed again and again.
    const numFree = this.#blocks.numFree - this.#numSeats - (sequence.numSeats - 1);
    const hits = this.#cache.match(sequence);
    const start = this.#cache.matchStart(sequence, hits.length);
    const numCached = hits.length * this.#options.blockSize + (start?.numTokens ?? 0);
    if (sequence.swapped !== null && sequence.swapped.numTokens > numCached) {
      if (this.#numMissingBlocks(sequence) > numFree) return false;
      this.#swapIn(sequence, sequence.swapped.blocks, sequence.swapped.numTokens);
    } else {
      const numTaken = hits.filter((id) => this.#blocks.refCount(id) === 0).length;
      const numNeeded = numTaken + this.#numMissingBlocks(sequence) - hits.length;
      if (numNeeded > numFree) return false;
      this.#dropSwapped(sequence);
      this.#adopt(sequence, hits, numNeeded < numFree ? start : null);
    }
    if (!this.#grow(sequence)) return false;
    this.#waiting.shift();
    sequence.become('running');
    this.#running.push(sequence);
    return true;
  }

  /** @param start only where there is a block more than it needs: it is held beside its copy until that is listed */
  #adopt(sequence: Sequence, hits: readonly number[], start: BlockStart | null): void {
    const blocks = start === null ? hits : [...hits, start.id];
    const numTokens = hits.length * this.#options.blockSize + (start?.numTokens ?? 0);
    this.#blocks.share(blocks);
    this.#cache.count(sequence, numTokens);
    sequence.adoptBlocks(blocks, hits.length, numTokens);
  }

  /** Gives a running sequence the blocks it lacks, taken from the last in order; false when it was itself the last. */
  #growByPreemption(sequence: Sequence, preempted: Sequence[]): boolean {
    while (!this.#grow(sequence)) {
      const victim = this.#running.reduce(
        (last, each) => (compareService(last, each) < 0 ? each : last),
        sequence,
      );
      preempted.push(victim);
      if (victim.search === null) this.#preempt(victim);
      else this.#restart(victim);
      if (sequence.state !== 'running') return false;
    }
    return true;
  }

  #preempt(victim: Sequence): void {
    this.#running.splice(this.#running.indexOf(victim), 1);
    this.#swapOut(victim);
    this.#free(victim);
    victim.become('preempted');
    this.add(victim);
  }

  /**
   * Beams go in step, so none can wait for its blocks alone: the whole search begins anew, from the one that is left. It
   * decides the same again, and the prefix cache may still hold what it computed.
   */
  #restart(victim: Sequence): void {
    for (const beam of victim.search?.beams ?? []) {
      this.#running.splice(this.#running.indexOf(beam), 1);
      this.#free(beam);
      if (beam === victim) continue;
      beam.become('finished');
      this.#dropped.push(beam);
    }
    victim.restart();
    victim.search?.restart(victim);
    victim.become('preempted');
    this.add(victim);
  }

  /** The blocks that it lacks, and one of its own for one that it shares and is about to write. */
  #grow(sequence: Sequence): boolean {
    const index = Math.floor(sequence.numComputedTokens / this.#options.blockSize);
    const written = sequence.blockTable[index];
    const isShared =
      written !== undefined &&
      (this.#blocks.refCount(written) > 1 || this.#blocks.hasContent(written));
    const blocks = this.#blocks.allocate(this.#numMissingBlocks(sequence) + (isShared ? 1 : 0));
    if (blocks === null) return false;
    if (isShared) {
      const own = blocks.shift() ?? 0;
      this.#copies.push({ source: written, target: own });
      sequence.replaceBlock(index, own);
      this.#blocks.free([written]);
    }
    sequence.appendBlocks(blocks);
    return true;
  }

  /** Keeps what was computed of a sequence that loses its blocks, where that is cheaper and has room. */
  #swapOut(victim: Sequence): void {
    const numTokens = victim.numComputedTokens;
    const sources = victim.blockTable.slice(0, Math.ceil(numTokens / this.#options.blockSize));
    if (sources.length === 0 || !this.#cost.isSwapCheaper(numTokens, sources.length)) return;
    const blocks = this.#swap.allocate(sources.length);
    if (blocks === null) return;
    this.#copy(sources, blocks);
    victim.swapped = { blocks, numTokens };
  }

  /** Room was checked. */
  #swapIn(sequence: Sequence, sources: readonly number[], numTokens: number): void {
    const blocks = this.#blocks.allocate(sources.length) ?? [];
    this.#copy(sources, blocks);
    this.#dropSwapped(sequence);
    sequence.restoreBlocks(blocks, numTokens);
  }

  #dropSwapped(sequence: Sequence): void {
    if (sequence.swapped === null) return;
    this.#swap.free(sequence.swapped.blocks);
    sequence.swapped = null;
  }

  #copy(sources: readonly number[], targets: readonly number[]): void {
    for (const [index, source] of sources.entries())
      this.#copies.push({ source, target: targets[index] ?? 0 });
  }

  /** Sequences that run, those that running ones will fork into included. */
  get #numSeats(): number {
    return this.#running.reduce((sum, { numSeats }) => sum + numSeats, 0);
  }

  /** Blocks that its known tokens need beyond those it has. */
  #numMissingBlocks(sequence: Sequence): number {
    const needed = Math.ceil(sequence.tokenIds.length / this.#options.blockSize);
    return Math.max(0, needed - sequence.blockTable.length);
  }

  #free(sequence: Sequence): void {
    this.#cache.registerLast(sequence);
    this.#blocks.free(sequence.takeBlocks().reverse());
  }
}
