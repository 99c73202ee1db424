// One sequence: its ids, its block table, how far it is computed. It decides nothing.
import type { SequenceListener, SequenceRequest } from '../contracts/engine.ts';

/**
 * waiting ──admitted──► running ──ends──► finished
 *    ▲                    │  ▲
 *    │                    ▼  │ admitted again, computed from 0
 *    └──(never)        preempted ──ends──► finished
 *
 * An abort finishes a sequence from any state; while its step is under way its blocks are freed when the step returns.
 */
export type SequenceState = 'waiting' | 'running' | 'preempted' | 'finished';

export class Sequence {
  readonly seqId: string;
  readonly request: SequenceRequest;
  readonly listener: SequenceListener;
  /** Order of arrival, for first come first served. */
  readonly arrival: number;
  state: SequenceState = 'waiting';
  /** Prompt, then output, an earlier attempt's output included. */
  readonly tokenIds: number[];
  /** Tokens whose keys and values are in the pool. Catching up with tokenIds.length is all the work there is. */
  numComputedTokens = 0;
  /** Blocks in order of position; grows only, emptied when preempted or finished. */
  blockTable: number[] = [];

  constructor(request: SequenceRequest, listener: SequenceListener, arrival: number) {
    this.seqId = request.seqId;
    this.request = request;
    this.listener = listener;
    this.arrival = arrival;
    this.tokenIds = [...request.promptTokenIds, ...request.outputTokenIds];
  }

  get numOutputTokens(): number {
    return this.tokenIds.length - this.request.promptTokenIds.length;
  }

  /** Tokens still to be run before the next one can be sampled. */
  get numPendingTokens(): number {
    return this.tokenIds.length - this.numComputedTokens;
  }

  /** Smaller runs first. */
  isBefore(other: Sequence): boolean {
    const byPriority = this.request.priority - other.request.priority;
    return byPriority !== 0 ? byPriority < 0 : this.arrival < other.arrival;
  }
}
