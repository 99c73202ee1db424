// Guesses tokens ahead, so that one step checks several at once. It decides how many are worth their rows and nothing
// else: the model samples every position itself, from the same logits and the same random numbers, and a guess is kept
// only where it equals what was sampled. So the output is that of plain decoding, token for token, sampled or greedy.
// Sources: speculative decoding (Leviathan et al., arXiv 2211.17192), with exact match instead of rejection sampling,
// which a sampler that is a function of (seed, position) allows; prompt lookup (Saxena, 2023).
import { NgramIndex, NUM_KINDS, priorRate } from './ngram-index.ts';
import type { Sequence } from './sequence.ts';
import { StepCost } from './step-cost.ts';

export interface Draft {
  readonly tokenIds: readonly number[];
  /** What spoke for each guess, see NextToken; null when a draft model guessed. */
  readonly kinds: readonly number[] | null;
}

/** A step as it is being made: guesses are weighed against what it costs and gives already. */
export interface StepPlan {
  /** Rows so far. */
  numRows: number;
  /** Tokens that it is expected to give. */
  numTokens: number;
}

/** By what spoke for a guess: how often it was right. */
type Rates = Float64Array;

interface Lookup {
  readonly index: NgramIndex;
  readonly rates: Rates;
}

/** What is believed before anything was tried: the longer the agreement, the better the guess. */
const PRIOR_RATES: Rates = Float64Array.from({ length: NUM_KINDS }, (_, kind) => priorRate(kind));
/** Weight of each new guess in its sequence's rate, and in that of all, from which new sequences start. */
const LEARNING_RATE = 0.07;
const SHARED_LEARNING_RATE = 0.01;
/** How fast a rate too low to be tried drifts back, so that a bad phase is not the end. */
const DRIFT = 0.003;
/** A chain of guesses that is right less often than this is not made longer. */
const LEAST_CHANCE = 0.04;

export class Speculator {
  readonly #maxDraftTokens: number;
  readonly #cost: StepCost;
  readonly #sharedRates: Rates = PRIOR_RATES.slice();
  readonly #lookups = new WeakMap<Sequence, Lookup>();

  /**
   * @param maxDraftTokens of one sequence in one step; 0 = off
   * @param cost of the model's steps, kept by the caller
   */
  constructor(maxDraftTokens: number, cost = new StepCost()) {
    this.#maxDraftTokens = maxDraftTokens;
    this.#cost = cost;
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
    const tokenIds: number[] = [];
    const kinds: number[] = [];
    let [chance, numTokens] = [1, plan.numTokens];
    let best = { count: 0, numTokens, speed: numTokens / this.#cost.msOf(plan.numRows) };
    while (tokenIds.length < most && chance > LEAST_CHANCE) {
      const next = index.next(tokenIds);
      const rate = rates[next?.kind ?? -1] ?? 0;
      if (next === null || (tokenIds.length === 0 && rate < leastRate)) break;
      tokenIds.push(next.tokenId);
      kinds.push(next.kind);
      chance *= rate;
      numTokens += chance;
      const speed = numTokens / this.#cost.msOf(plan.numRows + tokenIds.length);
      if (speed > best.speed) best = { count: tokenIds.length, numTokens, speed };
    }
    const { count } = best;
    plan.numRows += count;
    plan.numTokens = best.numTokens;
    if (count > 0) return { tokenIds: tokenIds.slice(0, count), kinds: kinds.slice(0, count) };
    const first = kinds[0] ?? -1;
    const rate = rates[first];
    if (rate !== undefined) rates[first] = rate + DRIFT * ((PRIOR_RATES[first] ?? 0) - rate);
    return null;
  }

  /** What became of a draft: the model agreed with the first `numAccepted` tokens of it. */
  settle(sequence: Sequence, { kinds }: Draft, numAccepted: number): void {
    if (kinds === null) return;
    const { rates } = this.#lookupOf(sequence);
    for (const [offset, kind] of kinds.slice(0, numAccepted + 1).entries()) {
      const outcome = offset < numAccepted ? 1 : 0;
      learn(rates, kind, outcome, LEARNING_RATE);
      learn(this.#sharedRates, kind, outcome, SHARED_LEARNING_RATE);
    }
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

function learn(rates: Rates, kind: number, outcome: 0 | 1, weight: number): void {
  const rate = rates[kind] ?? 0;
  rates[kind] = rate + weight * (outcome - rate);
}
