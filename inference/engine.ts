// The step loop: schedule → forward → update. One step is under way at most; its callback starts the next, without a
// promise in between. Sequences come at any time; they change and go only between steps.
import { AppError } from '../contracts/errors.ts';
import type {
  Engine,
  EngineStats,
  SequenceFinish,
  SequenceListener,
  SequenceRequest,
} from '../contracts/engine.ts';
import { buildBatch } from './batch-builder.ts';
import { BlockAllocator } from './block-allocator.ts';
import { Drafting } from './drafting.ts';
import type { Executor } from './forward-batch.ts';
import { LiveSequences } from './live-sequences.ts';
import { PreemptionCost } from './preemption-cost.ts';
import { PrefixCache } from './prefix-cache.ts';
import { checkRequest } from './request-check.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule, ScheduledSequence } from './scheduler.ts';
import { Sequence } from './sequence.ts';
import { SwapSpace } from './swap-space.ts';
import { TokenTaker } from './token-taker.ts';
import type { StepSamples } from './token-taker.ts';

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
  readonly #drafting: Drafting;
  readonly #cost: PreemptionCost;
  readonly #swap: SwapSpace;
  readonly #taker: TokenTaker;
  readonly #live = new LiveSequences();
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
    this.#drafting = new Drafting(executor, this.#scheduler, this.#options);
    this.#taker = new TokenTaker({
      scheduler: this.#scheduler,
      cache: this.#cache,
      drafting: this.#drafting,
      live: this.#live,
      contextLength,
      vocabSize: executor.vocabSize,
      isAborted: (sequence) => this.#abortedInFlight.has(sequence),
      finish: (sequence, finish) => this.#finish(sequence, finish),
      drop: (sequence) => this.#retire(sequence),
      tell: (call) => this.#tell(call),
    });
  }

  /** See Engine. @throws also GENERATION_FAILED once the engine is broken, OVERLOADED once it drains */
  submit(request: SequenceRequest, listener: SequenceListener): void {
    if (this.#failure !== null) throw new AppError('GENERATION_FAILED', { cause: this.#failure });
    if (this.#isDraining) throw new AppError('OVERLOADED', { message: 'the engine is stopping' });
    if (this.#live.has(request.seqId)) {
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
    this.#live.add(sequence);
    const reason = this.#taker.endOf(sequence);
    if (reason !== null) {
      // Its caller hears of the end after submit() has returned, as of any other.
      queueMicrotask(() => this.#finish(sequence, { reason }));
      return;
    }
    this.#scheduler.add(sequence);
    this.#kick();
  }

  abort(seqId: string, sampleIndex?: number): void {
    for (const sequence of this.#live.of(seqId)) {
      if (sampleIndex !== undefined && !isAlone(sequence, sampleIndex)) continue;
      if (this.#inFlight?.has(sequence) === true) this.#abortedInFlight.add(sequence);
      else this.#finish(sequence, { reason: 'abort' });
    }
  }

  hold(seqId: string, isHeld: boolean): void {
    for (const sequence of this.#live.of(seqId)) {
      if (sequence.search !== null) continue;
      sequence.isHeld = isHeld;
      if (!isHeld) this.#scheduler.letGo(sequence);
    }
    this.#kick();
  }

  stats(): EngineStats {
    const { waiting, running } = this.#scheduler;
    const preempted = waiting.filter((each) => each.state === 'preempted').length;
    return {
      waiting: waiting.length - preempted,
      running: running.length,
      preempted,
      held: this.#scheduler.numHeld,
      kvBlocks: {
        free: this.#blocks.numFree - this.#blocks.numCached,
        used: this.#blocks.numUsed,
        cached: this.#blocks.numCached,
      },
      prefixCache: this.#cache.stats,
      speculation: this.#drafting.stats,
      numSteps: this.#numSteps,
      numPreemptions: this.#numPreemptions,
      numSwappedBlocks: this.#swap.numUsed,
      lastTokenAtMs: this.#taker.lastTokenAtMs,
    };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    await this.#idle();
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    for (const { seqId } of this.#live.all()) this.abort(seqId);
    await this.#idle();
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#executor.close();
  }

  /** For tests; the engine calls it when it becomes idle. @throws AppError INVARIANT_VIOLATED when blocks are lost or held twice */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity(this.#live.all());
    this.#drafting.checkIntegrity(this.#live.all());
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
        for (const beam of schedule.dropped) this.#live.delete(beam);
        for (const held of schedule.held) this.#drafting.forget(held);
        if (schedule.scheduled.length === 0) this.#checkIdle();
        else this.#draft(schedule);
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#wakeIdle();
  }

  /** The draft model's turn is a part of the step: nobody in it goes meanwhile. */
  #draft(schedule: Schedule): void {
    this.#numPreemptions += schedule.preempted.length;
    this.#inFlight = new Set(schedule.scheduled.map(({ sequence }) => sequence));
    const failed = (cause: unknown): void => {
      this.#inFlight = null;
      this.#fail(cause);
    };
    try {
      this.#drafting.addDrafts(schedule, (error, drafted) => {
        try {
          if (error !== null) throw error;
          this.#forward(drafted);
        } catch (cause) {
          failed(cause);
          this.#wakeIdle();
        }
      });
    } catch (cause) {
      failed(cause);
    }
  }

  #forward({ scheduled, preempted, copies }: Schedule): void {
    const { batch, sampled } = buildBatch(scheduled, this.#executor.blockSize, copies);
    const startedAt = performance.now();
    // When it throws it has refused the batch: no step is under way, and no callback comes.
    this.#executor.forward(batch, (error, sampledIds, logprobs = null) => {
      const durationMs = performance.now() - startedAt;
      try {
        if (error !== null) throw error;
        this.#drafting.observeStep(batch.tokenIds.length, durationMs);
        this.#cost.observeStep(batch.tokenIds.length, durationMs);
        this.#update(scheduled, sampled, { ids: sampledIds ?? new Int32Array(), logprobs });
      } catch (reason) {
        this.#fail(reason);
      }
      this.#inFlight = null;
      const record = {
        numTokens: batch.tokenIds.length,
        numSeqs: scheduled.length,
        numSampled: batch.sampleRows.length,
        numPreempted: preempted.length,
        durationMs,
      };
      if (error === null) this.#tell(() => this.#options.onStep?.(record));
      this.#step();
    });
  }

  #update(
    scheduled: readonly ScheduledSequence[],
    sampled: readonly ScheduledSequence[],
    samples: StepSamples,
  ): void {
    if (this.#failure !== null) return;
    this.#numSteps += 1;
    for (const { sequence, numTokens } of scheduled) {
      sequence.numComputedTokens += numTokens;
      this.#cache.register(sequence);
    }
    this.#taker.take(sampled, samples);
    // A listener may add to the set while this runs; iteration sees what is added.
    for (const sequence of this.#abortedInFlight) this.#finish(sequence, { reason: 'abort' });
  }

  /** Ends a sequence, frees its blocks, then tells its listener; once. */
  #finish(sequence: Sequence, finish: SequenceFinish): void {
    if (sequence.state === 'finished') return;
    const { listener, numCachedTokens } = sequence;
    for (const each of sequence.search?.beams ?? [sequence]) this.#retire(each);
    for (const [index, end] of endsOf(sequence, finish))
      this.#tell(() => listener.onFinish(end, numCachedTokens ?? 0, index));
    if (this.#live.isEmpty) this.#kick();
  }

  /** Takes a sequence out of everything and frees its blocks, without a word. */
  #retire(sequence: Sequence): void {
    sequence.become('finished');
    this.#live.delete(sequence);
    this.#abortedInFlight.delete(sequence);
    this.#drafting.forget(sequence);
    try {
      this.#scheduler.remove(sequence);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A broken executor or invariant ends every sequence; nothing is retried in place. */
  #fail(cause: unknown): void {
    if (this.#failure !== null) return;
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#failure = error;
    for (const sequence of this.#live.all()) this.#finish(sequence, { reason: 'error', error });
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

  get #isIdle(): boolean {
    return this.#live.isEmpty && this.#inFlight === null;
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

/** Before its forking a sequence stands for all its replies, as a search's beams always do: none can be ended by itself. */
function isAlone({ sampleIndex, numSeats, search }: Sequence, asked: number): boolean {
  return sampleIndex === asked && numSeats === 1 && search === null;
}

/** The replies that end with a sequence, and how: one that has not forked ends for all that it would have become. */
function endsOf(sequence: Sequence, finish: SequenceFinish): [index: number, SequenceFinish][] {
  const { sampleIndex, numSeats, search, request } = sequence;
  if (search === null)
    return Array.from({ length: numSeats }, (_, at) => [sampleIndex + at, finish]);
  const { replies } = search;
  return Array.from({ length: request.numSamples ?? 1 }, (_, index) => {
    const reason = replies[index]?.reason;
    return [index, isOwnEnd(finish) && reason !== undefined ? { reason } : finish];
  });
}

function isOwnEnd({ reason }: SequenceFinish): boolean {
  return reason === 'stop' || reason === 'length';
}
