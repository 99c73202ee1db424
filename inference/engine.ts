// The step loop: schedule → forward → update. One step is under way at most; its callback starts the next, without a
// promise in between. Sequences come at any time; they change and go only between steps.
import { AppError } from '../contracts/errors.ts';
import type {
  Engine,
  EngineStats,
  SequenceFinish,
  SequenceListener,
  SequenceRequest,
  TokenLogprobs,
} from '../contracts/engine.ts';
import { buildBatch } from './batch-builder.ts';
import { BlockAllocator } from './block-allocator.ts';
import { addDrafts, numSamplesOf } from './drafting.ts';
import type { Executor, StepLogprobs } from './forward-batch.ts';
import { PreemptionCost } from './preemption-cost.ts';
import { PrefixCache } from './prefix-cache.ts';
import { checkRequest } from './request-check.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule, ScheduledSequence } from './scheduler.ts';
import { Sequence } from './sequence.ts';
import { Speculator } from './speculator.ts';
import { SwapSpace } from './swap-space.ts';
import { logprobsOf } from './step-logprobs.ts';

export interface StepRecord {
  readonly numTokens: number;
  readonly numSeqs: number;
  /** Sequences that got a token; the others are within their prompts. */
  readonly numSampled: number;
  readonly numPreempted: number;
  /** From the call of the executor to its answer. */
  readonly durationMs: number;
}

export interface EngineOptions {
  /** Tokens of one step, over all sequences; at least maxNumSeqs. */
  readonly maxNumBatchedTokens: number;
  readonly maxNumSeqs: number;
  /** Tokens of prompt + output; at most the executor's. */
  readonly contextLength: number;
  /** Tokens guessed ahead for one sequence in one step; 0 or left out = no speculation. */
  readonly maxDraftTokens?: number | undefined;
  /** The clock of priorities, in milliseconds. */
  readonly now?: (() => number) | undefined;
  readonly onStep?: ((step: StepRecord) => void) | undefined;
  /** A listener (or onStep) threw: the engine goes on, the caller has a bug. */
  readonly onListenerError?: ((error: unknown) => void) | undefined;
  /** Once, when the executor or an invariant broke: every sequence has ended, and only close() is left to do. */
  readonly onFailure?: ((error: Error) => void) | undefined;
}

export class StepEngine implements Engine {
  readonly #executor: Executor;
  readonly #options: EngineOptions;
  readonly #blocks: BlockAllocator;
  readonly #cache: PrefixCache;
  readonly #scheduler: Scheduler;
  readonly #speculator: Speculator;
  readonly #cost: PreemptionCost;
  readonly #swap: SwapSpace;
  /** Live replies by their request's id. */
  readonly #groups = new Map<string, Set<Sequence>>();
  /** Sequences in the step under way, until its update is done; their blocks may be written. Null between steps. */
  #inFlight: ReadonlySet<Sequence> | null = null;
  /** Aborted while their step was under way: finished when it returns. */
  readonly #abortedInFlight = new Set<Sequence>();
  #isKicked = false;
  #isDraining = false;
  #isClosed = false;
  #failure: Error | null = null;
  readonly #idleWaiters: (() => void)[] = [];
  #arrivals = 0;
  #numSteps = 0;
  #numPreemptions = 0;
  #lastTokenAtMs: number | null = null;

  /**
   * @param executor owned by the engine, closed by close()
   * @throws AppError INVALID_REQUEST when the options contradict each other
   */
  constructor(executor: Executor, options: EngineOptions) {
    const contextLength = Math.min(options.contextLength, executor.contextLength);
    this.#executor = executor;
    this.#options = { ...options, contextLength };
    const { numBlocks, blockSize } = executor;
    this.#blocks = new BlockAllocator(numBlocks, (id) => this.#cache.forget(id));
    this.#cache = new PrefixCache(this.#blocks, blockSize);
    this.#swap = new SwapSpace(numBlocks, executor.numSwapBlocks);
    this.#cost = new PreemptionCost(executor.blockCopyMs);
    this.#scheduler = new Scheduler(
      { ...options, blockSize },
      { blocks: this.#blocks, cache: this.#cache, swap: this.#swap, cost: this.#cost },
    );
    this.#speculator = new Speculator(options.maxDraftTokens ?? 0);
  }

  /** See Engine. @throws also GENERATION_FAILED once the engine is broken, OVERLOADED once it drains */
  submit(request: SequenceRequest, listener: SequenceListener): void {
    if (this.#failure !== null) throw new AppError('GENERATION_FAILED', { cause: this.#failure });
    if (this.#isDraining) throw new AppError('OVERLOADED', { message: 'the engine is stopping' });
    if (this.#groups.has(request.seqId)) {
      throw new AppError('INVALID_REQUEST', {
        message: 'a sequence with this id is live',
        param: 'seqId',
      });
    }
    const { vocabSize, numBlocks, blockSize } = this.#executor;
    const poolTokens = numBlocks * blockSize;
    const { contextLength, maxNumSeqs, now = () => performance.now() } = this.#options;
    checkRequest(request, { vocabSize, contextLength, poolTokens, blockSize, maxNumSeqs });
    const sequence = new Sequence(request, listener, this.#arrivals++, now());
    this.#groups.set(request.seqId, new Set([sequence]));
    if (this.#isAtLength(sequence)) {
      // Its caller hears of the end after submit() has returned, as of any other.
      queueMicrotask(() => this.#finish(sequence, { reason: 'length' }));
      return;
    }
    this.#scheduler.add(sequence);
    this.#kick();
  }

  abort(seqId: string): void {
    for (const sequence of this.#groups.get(seqId) ?? []) {
      if (this.#inFlight?.has(sequence) === true) this.#abortedInFlight.add(sequence);
      else this.#finish(sequence, { reason: 'abort' });
    }
  }

  stats(): EngineStats {
    const { waiting, running } = this.#scheduler;
    const preempted = waiting.filter((each) => each.state === 'preempted').length;
    return {
      waiting: waiting.length - preempted,
      running: running.length,
      preempted,
      kvBlocks: {
        free: this.#blocks.numFree - this.#blocks.numCached,
        used: this.#blocks.numUsed,
        cached: this.#blocks.numCached,
      },
      prefixCache: this.#cache.stats,
      speculation: this.#speculator.stats,
      numSteps: this.#numSteps,
      numPreemptions: this.#numPreemptions,
      numSwappedBlocks: this.#swap.numUsed,
      lastTokenAtMs: this.#lastTokenAtMs,
    };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    await this.#idle();
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    for (const seqId of [...this.#groups.keys()]) this.abort(seqId);
    await this.#idle();
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#executor.close();
  }

  /** For tests; the engine calls it when it becomes idle. @throws AppError INVARIANT_VIOLATED when blocks are lost or held twice */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity(this.#live);
  }

  /** The loop starts in a microtask, so that sequences submitted together are batched together. */
  #kick(): void {
    if (this.#inFlight !== null || this.#isKicked) return;
    this.#isKicked = true;
    queueMicrotask(() => {
      this.#isKicked = false;
      if (this.#inFlight === null) this.#step();
    });
  }

  #step(): void {
    if (this.#failure === null) {
      try {
        const schedule = this.#scheduler.schedule();
        if (schedule.scheduled.length > 0) this.#forward(this.#withDrafts(schedule));
        else this.#checkIdle();
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#wakeIdle();
  }

  #withDrafts(schedule: Schedule): Schedule {
    return addDrafts(schedule, this.#speculator, this.#scheduler, this.#options);
  }

  #forward({ scheduled, preempted, copies }: Schedule): void {
    this.#numPreemptions += preempted.length;
    const { batch, sampled } = buildBatch(scheduled, this.#executor.blockSize, copies);
    const startedAt = performance.now();
    this.#inFlight = new Set(scheduled.map(({ sequence }) => sequence));
    try {
      this.#executor.forward(batch, (error, sampledIds, logprobs = null) => {
        const durationMs = performance.now() - startedAt;
        try {
          if (error !== null) throw error;
          this.#speculator.observeStep(batch.tokenIds.length, durationMs);
          this.#cost.observeStep(batch.tokenIds.length, durationMs);
          this.#update(scheduled, sampled, sampledIds ?? new Int32Array(), logprobs);
          const numPreempted = preempted.length;
          const record = {
            numTokens: batch.tokenIds.length,
            numSeqs: scheduled.length,
            numSampled: batch.sampleRows.length,
            numPreempted,
            durationMs,
          };
          this.#tell(() => this.#options.onStep?.(record));
        } catch (reason) {
          this.#fail(reason);
        }
        this.#inFlight = null;
        this.#step();
      });
    } catch (error) {
      // The executor refused the batch: no step is under way, and no callback comes.
      this.#inFlight = null;
      throw error;
    }
  }

  #update(
    scheduled: readonly ScheduledSequence[],
    sampled: readonly ScheduledSequence[],
    sampledIds: Int32Array,
    logprobs: StepLogprobs | null,
  ): void {
    if (this.#failure !== null) return;
    const { vocabSize } = this.#executor;
    const numSamples = sampled.reduce((sum, each) => sum + numSamplesOf(each), 0);
    if (sampledIds.length !== numSamples || !sampledIds.every((id) => id >= 0 && id < vocabSize)) {
      throw new AppError('INVARIANT_VIOLATED', {
        message: 'the executor did not return one token for each sample',
      });
    }
    this.#numSteps += 1;
    for (const { sequence, numTokens } of scheduled) {
      sequence.numComputedTokens += numTokens;
      this.#cache.register(sequence);
    }
    let sample = 0;
    for (const each of sampled) {
      const end = sample + numSamplesOf(each);
      const ids = sampledIds.subarray(sample, end);
      if (each.sequence.numSeats > 1) this.#fork(each.sequence, ids, sample, logprobs);
      else this.#takeAll(each, ids, sample, logprobs);
      sample = end;
    }
    // A listener may add to the set while this runs; iteration sees what is added.
    for (const sequence of this.#abortedInFlight) this.#finish(sequence, { reason: 'abort' });
  }

  /** The first tokens of the replies that share a prompt. */
  #fork(
    sequence: Sequence,
    sampledIds: Int32Array,
    first: number,
    logprobs: StepLogprobs | null,
  ): void {
    const replies = [sequence];
    if (!this.#abortedInFlight.has(sequence)) {
      const forks = this.#scheduler.fork(sequence);
      for (const fork of forks) this.#groups.get(sequence.seqId)?.add(fork);
      replies.push(...forks);
    }
    for (const [index, reply] of replies.entries())
      this.#take(reply, sampledIds[index] ?? 0, this.#logprobsOf(reply, first + index, logprobs));
  }

  #logprobsOf(
    { request }: Sequence,
    sample: number,
    logprobs: StepLogprobs | null,
  ): TokenLogprobs | null {
    const numTop = request.sampling.logprobs ?? null;
    return logprobs === null || numTop === null ? null : logprobsOf(logprobs, sample, numTop);
  }

  /**
   * The sampled tokens of one sequence. What follows a guess counts only while the guess was right; the keys and values
   * of the wrong ones are overwritten by whatever comes at their positions.
   * @param first index of its first sample among all of the step
   */
  #takeAll(
    { sequence, draft }: ScheduledSequence,
    sampledIds: Int32Array,
    first: number,
    logprobs: StepLogprobs | null,
  ): void {
    const guesses = draft?.tokenIds ?? [];
    let numAccepted = 0;
    for (const [index, tokenId] of sampledIds.entries()) {
      this.#take(sequence, tokenId, this.#logprobsOf(sequence, first + index, logprobs));
      if (tokenId !== guesses[index]) break;
      numAccepted += 1;
      if (sequence.state === 'finished' || this.#abortedInFlight.has(sequence)) break;
      sequence.numComputedTokens += 1;
      this.#cache.register(sequence);
    }
    if (draft !== undefined) this.#speculator.settle(sequence, draft, numAccepted);
  }

  /** One sampled token; that of an aborted sequence is dropped. */
  #take(sequence: Sequence, tokenId: number, logprobs: TokenLogprobs | null): void {
    if (this.#abortedInFlight.has(sequence)) return;
    this.#lastTokenAtMs = Date.now();
    if (sequence.request.stopTokenIds.includes(tokenId)) {
      this.#finish(sequence, { reason: 'stop' });
      return;
    }
    sequence.tokenIds.push(tokenId);
    const { listener, sampleIndex } = sequence;
    const own = logprobs === null ? undefined : [logprobs];
    this.#tell(() => listener.onTokens([tokenId], own, sampleIndex));
    if (this.#abortedInFlight.has(sequence)) return;
    if (this.#isAtLength(sequence)) this.#finish(sequence, { reason: 'length' });
  }

  #isAtLength({ numOutputTokens, tokenIds, request }: Sequence): boolean {
    return numOutputTokens >= request.maxTokens || tokenIds.length >= this.#options.contextLength;
  }

  /** Ends a sequence, frees its blocks, then tells its listener; once. */
  #finish(sequence: Sequence, finish: SequenceFinish): void {
    if (sequence.state === 'finished') return;
    sequence.become('finished');
    const group = this.#groups.get(sequence.seqId);
    group?.delete(sequence);
    if (group?.size === 0) this.#groups.delete(sequence.seqId);
    this.#abortedInFlight.delete(sequence);
    try {
      this.#scheduler.remove(sequence);
    } catch (error) {
      this.#fail(error);
    }
    const { listener, numCachedTokens, sampleIndex } = sequence;
    this.#tell(() => listener.onFinish(finish, numCachedTokens ?? 0, sampleIndex));
    if (this.#groups.size === 0) this.#kick();
  }

  /** A broken executor or invariant ends every sequence; nothing is retried in place. */
  #fail(cause: unknown): void {
    if (this.#failure !== null) return;
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#failure = error;
    for (const sequence of this.#live) this.#finish(sequence, { reason: 'error', error });
    this.#tell(() => this.#options.onFailure?.(error));
  }

  /** Nothing was scheduled: that must mean that there is nothing. */
  #checkIdle(): void {
    const { waiting, running } = this.#scheduler;
    if (waiting.length + running.length > 0) {
      throw new AppError('INVARIANT_VIOLATED', {
        message: `${waiting.length} waiting and ${running.length} running sequences, and none can go on`,
      });
    }
    this.checkIntegrity();
  }

  get #live(): Sequence[] {
    return [...this.#groups.values()].flatMap((group) => [...group]);
  }

  get #isIdle(): boolean {
    return this.#groups.size === 0 && this.#inFlight === null;
  }

  #wakeIdle(): void {
    if (this.#isIdle) for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  async #idle(): Promise<void> {
    while (!this.#isIdle) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.onListenerError?.(error);
    }
  }
}
