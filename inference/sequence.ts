// One sequence: its ids, its block table, how far it is computed. It decides nothing.
import type { SequenceListener, SequenceRequest } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { LogitAdjustments } from './logit-adjustments.ts';

export type SequenceState = 'waiting' | 'running' | 'preempted' | 'finished';

/**
 * waiting ──admitted──► running ──stop, length──► finished
 *                        │   ▲
 *        blocks run out  ▼   │ admitted again, computed from what the prefix cache still holds
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
  readonly seqId: string;
  readonly request: SequenceRequest;
  readonly listener: SequenceListener;
  /** Order of arrival, for first come first served. */
  readonly arrival: number;
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

  /** @param request checked by checkRequest; its arrays are copied where the sequence goes on using them */
  constructor(request: SequenceRequest, listener: SequenceListener, arrival: number) {
    this.seqId = request.seqId;
    this.request = request;
    this.listener = listener;
    this.arrival = arrival;
    this.tokenIds = [...request.promptTokenIds, ...request.outputTokenIds];
    this.adjustments = LogitAdjustments.of(request.sampling, request.promptTokenIds.length);
  }

  get state(): SequenceState {
    return this.#state;
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
    this.appendBlocks(blocks);
    this.numComputedTokens = numTokens;
    this.numRegisteredBlocks = blocks.length;
    this.numCachedTokens ??= numTokens;
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

/** Order of service, for sort(): smaller priorities first, equal ones as they came. */
export function compareService(one: Sequence, other: Sequence): number {
  return one.request.priority - other.request.priority || one.arrival - other.arrival;
}
