// Which sequences run in the next step, and how many tokens of each. Policy over block counts; it runs nothing.
//
// There is no prefill and no decode phase: every sequence has computed tokens and tokens, and a step lets it catch up by
// some of the difference. Running sequences come first, so a long prompt is cut into chunks of what the budget leaves and
// never stalls the others. Source: vLLM's unified scheduler, Sarathi-Serve's chunked prefill (arXiv 2403.02310).
import type { BlockAllocator } from './block-allocator.ts';
import type { Sequence } from './sequence.ts';

export interface SchedulerOptions {
  /** Tokens of one step, over all sequences. */
  readonly maxNumBatchedTokens: number;
  /** Sequences that run at once. */
  readonly maxNumSeqs: number;
  readonly blockSize: number;
}

export interface ScheduledSequence {
  readonly sequence: Sequence;
  /** Tokens to run, from numComputedTokens on. */
  readonly numTokens: number;
}

export interface Schedule {
  readonly scheduled: readonly ScheduledSequence[];
  /** Lost their blocks to others and start over when there is room. */
  readonly preempted: readonly Sequence[];
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #blocks: BlockAllocator;
  /** In the order of isBefore; preempted sequences are among them. */
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];

  constructor(options: SchedulerOptions, blocks: BlockAllocator) {
    this.#options = options;
    this.#blocks = blocks;
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  add(sequence: Sequence): void {
    const at = this.#waiting.findIndex((other) => sequence.isBefore(other));
    this.#waiting.splice(at < 0 ? this.#waiting.length : at, 0, sequence);
  }

  /** Takes a sequence out, whatever its state, and frees its blocks. Not while its step is under way. */
  remove(sequence: Sequence): void {
    for (const list of [this.#waiting, this.#running]) {
      const at = list.indexOf(sequence);
      if (at >= 0) list.splice(at, 1);
    }
    this.#release(sequence);
  }

  /** The next step. Allocates the blocks it needs; empty when there is nothing to do. */
  schedule(): Schedule {
    let budget = this.#options.maxNumBatchedTokens;
    const scheduled: ScheduledSequence[] = [];
    const preempted: Sequence[] = [];
    const order = [...this.#running].sort((one, other) => (one.isBefore(other) ? -1 : 1));
    for (const sequence of order) {
      if (sequence.state !== 'running' || budget === 0) continue;
      const numTokens = Math.min(sequence.numPendingTokens, budget);
      if (!this.#growWithPreemption(sequence, numTokens, preempted)) continue;
      scheduled.push({ sequence, numTokens });
      budget -= numTokens;
    }
    // Whoever was just preempted would be admitted into the very blocks that were taken from it.
    if (preempted.length === 0) this.#admit(budget, scheduled);
    return { scheduled: scheduled.filter(({ sequence }) => sequence.state === 'running'), preempted };
  }

  /** In order, without overtaking: a large prompt at the head is not starved by small ones behind it. */
  #admit(budget: number, scheduled: ScheduledSequence[]): void {
    let left = budget;
    while (left > 0 && this.#running.length < this.#options.maxNumSeqs) {
      const sequence = this.#waiting[0];
      if (sequence === undefined) return;
      const numTokens = Math.min(sequence.numPendingTokens, left);
      // Room for the whole of what is known, not only the chunk: else prompts admitted together would preempt each other.
      if (this.#numMissingBlocks(sequence, sequence.numPendingTokens) > this.#blocks.numFree) return;
      if (!this.#grow(sequence, numTokens)) return;
      this.#waiting.shift();
      sequence.state = 'running';
      this.#running.push(sequence);
      scheduled.push({ sequence, numTokens });
      left -= numTokens;
    }
  }

  /** Gives `sequence` blocks for numTokens more, taking them from those that come last; false when it was itself the last. */
  #growWithPreemption(sequence: Sequence, numTokens: number, preempted: Sequence[]): boolean {
    while (!this.#grow(sequence, numTokens)) {
      const victim = this.#running.reduce((last, each) => (last.isBefore(each) ? each : last), sequence);
      this.#preempt(victim);
      preempted.push(victim);
      if (victim === sequence) return false;
    }
    return true;
  }

  #preempt(victim: Sequence): void {
    this.#running.splice(this.#running.indexOf(victim), 1);
    this.#release(victim);
    victim.numComputedTokens = 0;
    victim.state = 'preempted';
    this.add(victim);
  }

  #grow(sequence: Sequence, numTokens: number): boolean {
    const blocks = this.#blocks.allocate(this.#numMissingBlocks(sequence, numTokens));
    if (blocks === null) return false;
    sequence.blockTable.push(...blocks);
    return true;
  }

  #numMissingBlocks(sequence: Sequence, numTokens: number): number {
    const needed = Math.ceil((sequence.numComputedTokens + numTokens) / this.#options.blockSize);
    return Math.max(0, needed - sequence.blockTable.length);
  }

  #release(sequence: Sequence): void {
    this.#blocks.free(sequence.blockTable);
    sequence.blockTable = [];
  }
}
