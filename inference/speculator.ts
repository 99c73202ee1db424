// Guesses tokens ahead, so that one step checks several at once. It decides how many are worth their rows and nothing
// else: the model samples every position itself, from the same logits and the same random numbers, and a guess is kept
// only where it equals what was sampled. So the output is that of plain decoding, token for token, sampled or greedy.
// Sources: speculative decoding (Leviathan et al., arXiv 2211.17192), with exact match instead of rejection sampling,
// which a sampler that is a function of (seed, position) allows; prompt lookup (Saxena, 2023).
import { MAX_MATCH, NgramIndex } from './ngram-index.ts';
import type { Sequence } from './sequence.ts';
import { StepCost } from './step-cost.ts';

export interface Draft {
  readonly tokenIds: readonly number[];
  /** Tokens that agreed before the first guess; null when a draft model guessed. */
  readonly matchLength: number | null;
}

/** A step as it is being made: guesses are weighed against what it costs and gives already. */
export interface StepPlan {
  /** Rows so far. */
  numRows: number;
  /** Tokens that it is expected to give. */
  numTokens: number;
}

export interface SpeculationStats {
  readonly proposedTokens: number;
  readonly acceptedTokens: number;
}

/** By how many tokens agreed before a guess: how often the guess was right. Index 1 … MAX_MATCH. */
type Rates = Float64Array;

interface Lookup {
  readonly index: NgramIndex;
  readonly rates: Rates;
}

/** What is believed before anything was tried: the longer the agreement, the better the guess. */
const PRIOR_RATES: Rates = Float64Array.of(0, 0.25, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85);
/** Weight of each new guess in its sequence's rate, and in that of all, from which new sequences start. */
const LEARNING_RATE = 0.1;
const SHARED_LEARNING_RATE = 0.01;
/** How fast a rate too low to be tried drifts back, so that a bad phase is not the end. */
const DRIFT = 0.003;

export class Speculator {
  readonly #maxDraftTokens: number;
  readonly #cost: StepCost;
  readonly #sharedRates: Rates = PRIOR_RATES.slice();
  readonly #lookups = new WeakMap<Sequence, Lookup>();
  #proposedTokens = 0;
  #acceptedTokens = 0;

  /**
   * @param maxDraftTokens of one sequence in one step; 0 = off
   * @param cost of the model's steps, kept by the caller
   */
  constructor(maxDraftTokens: number, cost = new StepCost()) {
    this.#maxDraftTokens = maxDraftTokens;
    this.#cost = cost;
  }

  get stats(): SpeculationStats {
    return { proposedTokens: this.#proposedTokens, acceptedTokens: this.#acceptedTokens };
  }

  /**
   * Guesses for a sequence that gets its next token in this step, null when none is worth its row.
   * @param plan grows by what is guessed
   * @param room most tokens that may be guessed
   * @param leastRate nothing is guessed that is right less often than this
   */
  draft(sequence: Sequence, plan: StepPlan, room: number, leastRate = 0): Draft | null {
    const most = Math.min(room, this.#maxDraftTokens);
    if (most < 1) return null;
    const { index, rates } = this.#lookupOf(sequence);
    const match = index.match();
    if (match === null || (rates[match.length] ?? 0) < leastRate) return null;
    const count = this.#worthwhile(rates, match.length, plan, most);
    if (count > 0) return { tokenIds: index.continuation(match, count), matchLength: match.length };
    const rate = rates[match.length] ?? 0;
    rates[match.length] = rate + DRIFT * ((PRIOR_RATES[match.length] ?? 0) - rate);
    return null;
  }

  /** What became of a draft: the model agreed with the first `numAccepted` tokens of it. */
  settle(sequence: Sequence, { tokenIds, matchLength }: Draft, numAccepted: number): void {
    if (matchLength === null) return;
    this.#proposedTokens += tokenIds.length;
    this.#acceptedTokens += numAccepted;
    const { rates } = this.#lookupOf(sequence);
    for (let offset = 0; offset < Math.min(numAccepted + 1, tokenIds.length); offset += 1) {
      const outcome = offset < numAccepted ? 1 : 0;
      const length = Math.min(matchLength + offset, MAX_MATCH);
      learn(rates, length, outcome, LEARNING_RATE);
      learn(this.#sharedRates, length, outcome, SHARED_LEARNING_RATE);
    }
  }

  /**
   * How many guesses raise the tokens per unit of time. The cost of a step is its fixed part and its rows, in rows; one
   * more row is worth it while the chance that its guess counts exceeds the step's tokens per row of cost so far.
   */
  #worthwhile(rates: Rates, matchLength: number, plan: StepPlan, most: number): number {
    let chance = 1;
    for (let count = 0; count < most; count += 1) {
      chance *= rates[Math.min(matchLength + count, MAX_MATCH)] ?? 0;
      if (chance * (this.#cost.fixedRows + plan.numRows) <= plan.numTokens) return count;
      plan.numRows += 1;
      plan.numTokens += chance;
    }
    return most;
  }

  #lookupOf(sequence: Sequence): Lookup {
    let lookup = this.#lookups.get(sequence);
    if (lookup === undefined) {
      lookup = { index: new NgramIndex(sequence.tokenIds), rates: this.#sharedRates.slice() };
      this.#lookups.set(sequence, lookup);
    }
    return lookup;
  }
}

function learn(rates: Rates, length: number, outcome: 0 | 1, weight: number): void {
  const rate = rates[length] ?? 0;
  rates[length] = rate + weight * (outcome - rate);
}
