// One sequence: its ids, its block table, how far it is computed. It decides nothing.
import type { SequenceListener, SequenceRequest } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { sampleSeed } from '../contracts/samples.ts';
import { LogitAdjustments } from './logit-adjustments.ts';

export type SequenceState = 'waiting' | 'running' | 'preempted' | 'finished';

/**
 * waiting ──admitted──► running ──stop, length──► finished
 *                        │   ▲
 *        blocks run out  ▼   │ admitted again: copied back, or computed from what the prefix cache still holds
 *                      preempted
 *
 * An abort or a broken engine finishes a sequence from any state. While its step is under way that waits for the step.
 */
const TRANSITIONS: Readonly<Record<SequenceState, readonly SequenceState[]>> = Object.freeze({
  waiting: ['running', 'finished'],
  running: ['preempted', 'finished'],
  preempted: ['running', 'finished'],
  finished: [],
});

export class Sequence {
  readonly request: SequenceRequest;
  readonly listener: SequenceListener;
  /** Order of arrival, for first come first served. */
  readonly arrival: number;
  /** Which of its request's replies it is. */
  readonly sampleIndex: number;
  readonly #arrivedAtMs: number;
  /** Prompt, then output, an earlier attempt's output included. */
  readonly tokenIds: number[];
  /** Null when the request's sampling changes no logit. */
  readonly adjustments: LogitAdjustments | null;
  /** Tokens whose keys and values are in the pool. Catching up with tokenIds.length is all the work there is. */
  numComputedTokens = 0;
  /** Tokens found in the prefix cache when it was first admitted; null before. */
  numCachedTokens: number | null = null;
  /** Names of its full blocks so far; the prefix cache's. */
  readonly blockKeys: string[] = [];
  /** Blocks of its table that the prefix cache has seen. */
  numRegisteredBlocks = 0;
  #state: SequenceState = 'waiting';
  #blockTable: number[] = [];
  #numSeats: number;
  /** Where it waits with what was computed of it, when it was swapped out. */
  swapped: { readonly blocks: readonly number[]; readonly numTokens: number } | null = null;

  /** @param request checked by checkRequest; its arrays are copied where the sequence goes on using them */
  constructor(
    request: SequenceRequest,
    listener: SequenceListener,
    arrival: number,
    arrivedAtMs = 0,
    sampleIndex = 0,
  ) {
    this.request = request;
    this.listener = listener;
    this.arrival = arrival;
    this.sampleIndex = sampleIndex;
    this.#arrivedAtMs = arrivedAtMs;
    this.#numSeats = request.numSamples ?? 1;
    this.tokenIds = [...request.promptTokenIds, ...request.outputTokenIds];
    this.adjustments = LogitAdjustments.of(request.sampling, request.promptTokenIds.length);
  }

  get state(): SequenceState {
    return this.#state;
  }

  /** Shared by the replies of one request. */
  get seqId(): string {
    return this.request.seqId;
  }

  /** Sequences that it is or will be: the replies of its request until it has forked, then one. */
  get numSeats(): number {
    return this.#numSeats;
  }

  /** When it should be served: a class of priority is worth AGEING_MS of waiting, so nobody starves. */
  get serviceTime(): number {
    return this.#arrivedAtMs + this.request.priority * AGEING_MS;
  }

  /** Blocks in order of position. It only grows, until takeBlocks() empties it. */
  get blockTable(): readonly number[] {
    return this.#blockTable;
  }

  get numOutputTokens(): number {
    return this.tokenIds.length - this.request.promptTokenIds.length;
  }

  /** Tokens still to be run before the next one can be sampled; at least one in every live sequence. */
  get numPendingTokens(): number {
    return this.tokenIds.length - this.numComputedTokens;
  }

  /** @throws AppError INVARIANT_VIOLATED when the table above has no such transition */
  become(state: SequenceState): void {
    if (!TRANSITIONS[this.#state].includes(state)) {
      throw new AppError('INVARIANT_VIOLATED', {
        message: `a ${this.#state} sequence cannot become ${state}`,
      });
    }
    this.#state = state;
  }

  /** Begins with blocks that hold its first tokens already; a reference of each is the sequence's from now on. */
  adoptBlocks(blocks: readonly number[], numTokens: number): void {
    this.restoreBlocks(blocks, numTokens);
    this.numRegisteredBlocks = blocks.length;
    this.numCachedTokens ??= numTokens;
  }

  /**
   * Another reply behind the same computed prompt, with the next seed. The caller holds one more reference of `blocks`,
   * the beginning of the table, for it.
   */
  fork(sampleIndex: number, blocks: readonly number[]): Sequence {
    const { sampling } = this.request;
    const request = {
      ...this.request,
      numSamples: 1,
      sampling: { ...sampling, seed: sampleSeed(sampling.seed, sampleIndex) },
    };
    const { listener, arrival } = this;
    const fork = new Sequence(request, listener, arrival, this.#arrivedAtMs, sampleIndex);
    fork.become('running');
    fork.restoreBlocks(blocks, this.numComputedTokens);
    fork.numRegisteredBlocks = this.numRegisteredBlocks;
    fork.numCachedTokens = this.numCachedTokens;
    return fork;
  }

  /** Its replies go their own ways now. */
  endForking(): void {
    this.#numSeats = 1;
  }

  /** Begins with blocks that hold its first tokens, the prefix cache knows nothing of them. */
  restoreBlocks(blocks: readonly number[], numTokens: number): void {
    this.appendBlocks(blocks);
    this.numComputedTokens = numTokens;
  }

  /** Puts its own block in the place of a shared one. */
  replaceBlock(index: number, block: number): void {
    this.#blockTable[index] = block;
  }

  /** Adds blocks behind those it has; one reference of each is the sequence's from now on. */
  appendBlocks(blocks: readonly number[]): void {
    this.#blockTable.push(...blocks);
  }

  /** Gives its blocks away: the caller frees them, and what was computed into them is gone. */
  takeBlocks(): number[] {
    const blocks = this.#blockTable;
    this.#blockTable = [];
    this.numComputedTokens = 0;
    this.numRegisteredBlocks = 0;
    return blocks;
  }
}

/** A class of priority waits this much longer than the one above it. */
const AGEING_MS = 5000;

/** Order of service, for sort(): smaller priorities first until others have waited too long, equal ones as they came. */
export function compareService(one: Sequence, other: Sequence): number {
  return (
    one.serviceTime - other.serviceTime ||
    one.arrival - other.arrival ||
    one.sampleIndex - other.sampleIndex
  );
}
