// What the draft model has computed of a sequence: it follows the sequence's tokens at a distance, in blocks of its own.
import type { LogitAdjustments } from './logit-adjustments.ts';
import type { SequenceRequest } from '../contracts/engine.ts';
import type { Sequence } from './sequence.ts';

export class DraftSequence {
  readonly request: SequenceRequest;
  /** The sequence's own list, which grows. */
  readonly tokenIds: readonly number[];
  readonly adjustments: LogitAdjustments | null;
  /** Names of blocks depend on tokens and scope only: the sequence's own. */
  readonly blockKeys: string[];
  readonly blockTable: number[] = [];
  readonly numSeats = 1;
  readonly numDraws = 1;
  /** Nobody asks for a guess's. */
  readonly numTopLogprobs = null;
  /** Tokens whose keys and values are in the draft model's pool. */
  numComputedTokens = 0;
  numRegisteredBlocks = 0;
  /** How often a guess for it was right, lately. */
  rate: number;
  /** Guesses that were run behind numComputedTokens: some of them may have become tokens. */
  #guesses: readonly number[] = [];

  /** @param rate what is believed of its guesses before there are any */
  constructor(sequence: Sequence, rate: number) {
    this.request = sequence.request;
    this.tokenIds = sequence.tokenIds;
    this.adjustments = sequence.adjustments;
    this.blockKeys = sequence.blockKeys;
    this.rate = rate;
  }

  get numPendingTokens(): number {
    return this.tokenIds.length - this.numComputedTokens;
  }

  /** Begins with blocks that hold its first tokens already. */
  adoptBlocks(blocks: readonly number[], numTokens: number): void {
    this.blockTable.push(...blocks);
    this.numComputedTokens = numTokens;
    this.numRegisteredBlocks = blocks.length;
  }

  /** `numTokens` tokens were run, and then these guesses. */
  advance(numTokens: number, guesses: readonly number[]): void {
    this.numComputedTokens += numTokens;
    this.#guesses = guesses;
  }

  /** Counts the guesses that the sequence has since taken; what was computed of the others is overwritten. */
  follow(): void {
    for (const guess of this.#guesses) {
      if (guess !== this.tokenIds[this.numComputedTokens]) break;
      this.numComputedTokens += 1;
    }
    this.#guesses = [];
  }
}
