// One sequence: its ids, its block table, how far it is computed. It decides nothing.
import type { SequenceListener, SequenceRequest } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { sampleSeed } from '../contracts/samples.ts';
import { BeamSearch } from './beam-search.ts';
import { LogitAdjustments } from './logit-adjustments.ts';

export type SequenceState = 'waiting' | 'running' | 'preempted' | 'finished';

/**
 * waiting ──admitted──► running ──stop, length──► finished
 *                        │   ▲
 *        blocks run out  ▼   │ admitted again: copied back, or computed from what the prefix cache still holds
 *                      preempted
 *
 * A sequence that its caller holds back is preempted (or waits still) and is not admitted until it is let go.
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
  /** The search that it is a beam of; its request's beams share it. Null for a reply that is drawn. */
  readonly search: BeamSearch<Sequence> | null;
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
  /** Its caller holds it back: the next schedule takes it out. */
  isHeld = false;
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
    search: BeamSearch<Sequence> | null = null,
  ) {
    this.request = request;
    this.listener = listener;
    this.arrival = arrival;
    this.sampleIndex = sampleIndex;
    this.#arrivedAtMs = arrivedAtMs;
    this.#numSeats = request.numBeams ?? request.numSamples ?? 1;
    this.tokenIds = [...request.promptTokenIds, ...request.outputTokenIds];
    this.search = search ?? this.#newSearch();
    const { sampling, promptTokenIds, stopTokenIds } = request;
    this.adjustments = LogitAdjustments.of(sampling, promptTokenIds.length, stopTokenIds);
  }

  get state(): SequenceState {
    return this.#state;
  }

  /** Shared by the replies of one request. */
  get seqId(): string {
    return this.request.seqId;
  }

  /** Sequences that it is or will be: the replies or beams of its request until it has forked, then one. */
  get numSeats(): number {
    return this.#numSeats;
  }

  /** Samples of its last row: one, or as many as replies it forks into. */
  get numDraws(): number {
    return this.search === null ? this.#numSeats : 1;
  }

  /** Likely tokens whose logprobs are wanted beside its own; null for none at all. */
  get numTopLogprobs(): number | null {
    return this.search?.numContinuations ?? this.request.sampling.logprobs ?? null;
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

  /** It was to be one of some choices, and is. */
  get isChoiceComplete(): boolean {
    const choices = this.adjustments?.choices ?? null;
    return (
      choices !== null && choices.isComplete(this.tokenIds, this.request.promptTokenIds.length)
    );
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

  /**
   * Begins with blocks that hold its first tokens already; a reference of each is the sequence's from now on.
   * @param numFull of them it leaves as they are; in one behind them it goes on
   */
  adoptBlocks(blocks: readonly number[], numFull: number, numTokens: number): void {
    this.restoreBlocks(blocks, numTokens);
    this.numRegisteredBlocks = numFull;
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
    return this.#share(fork, blocks);
  }

  /** Another beam of its search, with the same tokens; the caller holds one more reference of `blocks` as in fork(). */
  branch(sampleIndex: number, blocks: readonly number[]): Sequence {
    const { request, listener, arrival, search } = this;
    const branch = new Sequence(request, listener, arrival, this.#arrivedAtMs, sampleIndex, search);
    branch.endForking();
    branch.tokenIds.push(...this.tokenIds.slice(branch.tokenIds.length));
    branch.blockKeys.push(...this.blockKeys);
    return this.#share(branch, blocks);
  }

  /** Back to its prompt, as if it had never run; its blocks are taken already. */
  restart(): void {
    this.tokenIds.length = this.request.promptTokenIds.length;
    this.blockKeys.length = 0;
    this.#numSeats = this.request.numBeams ?? 1;
  }

  #share(other: Sequence, blocks: readonly number[]): Sequence {
    other.become('running');
    other.restoreBlocks(blocks, this.numComputedTokens);
    other.numRegisteredBlocks = this.numRegisteredBlocks;
    other.numCachedTokens = this.numCachedTokens;
    return other;
  }

  #newSearch(): BeamSearch<Sequence> | null {
    const { numBeams, lengthPenalty = 1, numSamples, promptTokenIds, stopTokenIds } = this.request;
    if (numBeams === undefined) return null;
    const [numReplies, promptLength] = [numSamples ?? 1, promptTokenIds.length];
    return new BeamSearch<Sequence>(this, {
      numBeams,
      lengthPenalty,
      numReplies,
      promptLength,
      stopTokenIds,
    });
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
