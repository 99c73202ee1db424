// The step loop: schedule → forward → update. One step is under way at most; its callback starts the next, without a
// promise in between. Between steps, and only then, sequences come, go and are aborted.
import { AppError } from '../contracts/errors.ts';
import type { Engine, EngineStats, SequenceFinish, SequenceListener, SequenceRequest } from '../contracts/engine.ts';
import { buildBatch } from './batch-builder.ts';
import { BlockAllocator } from './block-allocator.ts';
import type { Executor } from './forward-batch.ts';
import { checkRequest } from './request-check.ts';
import { Scheduler } from './scheduler.ts';
import type { ScheduledSequence } from './scheduler.ts';
import { Sequence } from './sequence.ts';

export interface StepRecord {
  readonly numTokens: number;
  readonly numSeqs: number;
  readonly durationMs: number;
}

export interface EngineOptions {
  readonly maxNumBatchedTokens: number;
  readonly maxNumSeqs: number;
  /** Tokens of prompt + output; at most the executor's. */
  readonly contextLength: number;
  readonly onStep?: ((step: StepRecord) => void) | undefined;
  /** A listener threw: its sequence goes on, the caller has a bug. */
  readonly onListenerError?: ((error: unknown) => void) | undefined;
}

export class StepEngine implements Engine {
  readonly #executor: Executor;
  readonly #options: EngineOptions;
  readonly #blocks: BlockAllocator;
  readonly #scheduler: Scheduler;
  readonly #sequences = new Map<string, Sequence>();
  /** Sequences in the step under way; their blocks are being written. Null between steps. */
  #inFlight: ReadonlySet<Sequence> | null = null;
  /** Aborted while their step was under way: freed when it returns. */
  readonly #abortedInFlight = new Set<Sequence>();
  #isKicked = false;
  #isDraining = false;
  #failure: Error | null = null;
  #onIdle: (() => void)[] = [];
  #arrivals = 0;
  #numSteps = 0;
  #numPreemptions = 0;
  #lastTokenAtMs: number | null = null;

  /** @param executor owned by the engine, closed by close() */
  constructor(executor: Executor, options: EngineOptions) {
    this.#executor = executor;
    this.#options = { ...options, contextLength: Math.min(options.contextLength, executor.contextLength) };
    this.#blocks = new BlockAllocator(executor.numBlocks);
    this.#scheduler = new Scheduler({ ...options, blockSize: executor.blockSize }, this.#blocks);
  }

  submit(request: SequenceRequest, listener: SequenceListener): void {
    if (this.#failure !== null) throw new AppError('GENERATION_FAILED', { cause: this.#failure });
    if (this.#isDraining) throw new AppError('OVERLOADED', { message: 'the engine is stopping' });
    if (this.#sequences.has(request.seqId)) throw new AppError('INVALID_REQUEST', { message: 'a sequence with this id is live', param: 'seqId' });
    const { vocabSize, numBlocks, blockSize } = this.#executor;
    checkRequest(request, { vocabSize, contextLength: this.#options.contextLength, poolTokens: numBlocks * blockSize });
    const sequence = new Sequence(request, listener, this.#arrivals++);
    this.#sequences.set(request.seqId, sequence);
    if (request.outputTokenIds.length >= request.maxTokens || this.#isFull(sequence)) {
      queueMicrotask(() => this.#finish(sequence, { reason: 'length' }));
      return;
    }
    this.#scheduler.add(sequence);
    this.#kick();
  }

  abort(seqId: string): void {
    const sequence = this.#sequences.get(seqId);
    if (sequence === undefined || this.#abortedInFlight.has(sequence)) return;
    if (this.#inFlight?.has(sequence) === true) {
      this.#abortedInFlight.add(sequence);
      return;
    }
    this.#finish(sequence, { reason: 'abort' });
  }

  stats(): EngineStats {
    const { waiting, running } = this.#scheduler;
    const preempted = waiting.filter((each) => each.state === 'preempted').length;
    return {
      waiting: waiting.length - preempted,
      running: running.length,
      preempted,
      kvBlocks: { free: this.#blocks.numFree, used: this.#blocks.numUsed, cached: 0 },
      numSteps: this.#numSteps,
      numPreemptions: this.#numPreemptions,
      lastTokenAtMs: this.#lastTokenAtMs,
    };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    await this.#idle();
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    for (const seqId of [...this.#sequences.keys()]) this.abort(seqId);
    await this.#idle();
    this.#executor.close();
  }

  /** @throws AppError INVARIANT_VIOLATED when blocks are lost or held twice; for tests and for the idle engine */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity();
    const held = [...this.#sequences.values()].reduce((sum, each) => sum + each.blockTable.length, 0);
    if (held !== this.#blocks.numUsed) {
      throw new AppError('INVARIANT_VIOLATED', { message: `sequences hold ${held} blocks, the allocator says ${this.#blocks.numUsed}` });
    }
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
    if (this.#failure !== null) return;
    try {
      const { scheduled, preempted } = this.#scheduler.schedule();
      this.#numPreemptions += preempted.length;
      if (scheduled.length === 0) {
        // Blocks taken from a preempted sequence let it start over in the next schedule.
        if (preempted.length > 0) this.#kick();
        else this.#rest();
        return;
      }
      this.#run(scheduled);
    } catch (error) {
      this.#fail(error);
    }
  }

  #run(scheduled: readonly ScheduledSequence[]): void {
    const { batch, sampled } = buildBatch(scheduled, this.#executor.blockSize);
    const startedAt = performance.now();
    this.#inFlight = new Set(scheduled.map(({ sequence }) => sequence));
    this.#executor.forward(batch, (error, sampledIds) => {
      this.#inFlight = null;
      if (error !== null || sampledIds === null) {
        this.#fail(error ?? new Error('the executor returned nothing'));
        return;
      }
      this.#numSteps += 1;
      this.#options.onStep?.({ numTokens: batch.tokenIds.length, numSeqs: scheduled.length, durationMs: performance.now() - startedAt });
      for (const { sequence, numTokens } of scheduled) sequence.numComputedTokens += numTokens;
      for (const [index, { sequence }] of sampled.entries()) this.#take(sequence, sampledIds[index] ?? -1);
      for (const sequence of [...this.#abortedInFlight]) this.#finish(sequence, { reason: 'abort' });
      this.#step();
    });
  }

  /** One sampled token; that of an aborted sequence is dropped. */
  #take(sequence: Sequence, tokenId: number): void {
    if (this.#abortedInFlight.has(sequence)) return;
    this.#lastTokenAtMs = Date.now();
    if (sequence.request.stopTokenIds.includes(tokenId)) {
      this.#finish(sequence, { reason: 'stop' });
      return;
    }
    sequence.tokenIds.push(tokenId);
    this.#tell(() => sequence.listener.onTokens([tokenId]));
    // The listener may have aborted it.
    if (sequence.state === 'finished') return;
    if (sequence.numOutputTokens >= sequence.request.maxTokens || this.#isFull(sequence)) this.#finish(sequence, { reason: 'length' });
  }

  #isFull(sequence: Sequence): boolean {
    return sequence.tokenIds.length >= this.#options.contextLength;
  }

  #finish(sequence: Sequence, finish: SequenceFinish): void {
    if (sequence.state === 'finished') return;
    sequence.state = 'finished';
    this.#abortedInFlight.delete(sequence);
    this.#sequences.delete(sequence.seqId);
    this.#scheduler.remove(sequence);
    this.#tell(() => sequence.listener.onFinish(finish));
    if (this.#sequences.size === 0) this.#rest();
  }

  /** A broken executor or invariant ends every sequence; nothing is retried in place. */
  #fail(cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#failure = error;
    for (const sequence of [...this.#sequences.values()]) this.#finish(sequence, { reason: 'error', error });
    this.#rest();
  }

  #rest(): void {
    if (this.#sequences.size > 0 || this.#inFlight !== null) return;
    if (this.#failure === null) this.checkIntegrity();
    for (const wake of this.#onIdle.splice(0)) wake();
  }

  async #idle(): Promise<void> {
    while (this.#sequences.size > 0 || this.#inFlight !== null) {
      await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    }
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.onListenerError?.(error);
    }
  }
}
