// How many tokens a draft model is asked for. It guesses one token of every sequence a step, each guess costs a row of the
// model as well, and counts only if all before it were right: as long as the next step of guesses brings more tokens per
// millisecond than the whole step does so far, it is worth it. Pure arithmetic.
import type { StepEstimate } from './step-cost.ts';

/** A sequence that the draft model could guess for. */
export interface DraftCandidate {
  /** How often its guesses are right, 0 … 1. */
  readonly rate: number;
  /** Most tokens that may be guessed. */
  readonly room: number;
}

export interface PlannedStep {
  /** Rows and expected tokens of the model's step before anything is guessed here. */
  readonly numRows: number;
  readonly numTokens: number;
  readonly model: StepEstimate;
  readonly draft: StepEstimate;
}

/** @returns tokens to guess for each candidate */
export function planDrafts(candidates: readonly DraftCandidate[], step: PlannedStep): number[] {
  const { model, draft } = step;
  const counts = candidates.map(() => 0);
  let costMs = model.fixedMs + step.numRows * model.rowMs;
  let { numTokens } = step;
  const rowMs = draft.rowMs + model.rowMs;
  for (let depth = 1; ; depth += 1) {
    const worthwhile = candidates
      .map(({ rate, room }, index) => ({ index, room, chance: rate ** depth }))
      .filter(({ index, room, chance }) => {
        const isGuessing = counts[index] === depth - 1 && room >= depth;
        return isGuessing && chance * costMs > rowMs * numTokens;
      });
    const gain = worthwhile.reduce((sum, { chance }) => sum + chance, 0);
    const addedMs = draft.fixedMs + worthwhile.length * rowMs;
    if (worthwhile.length === 0 || gain * costMs <= addedMs * numTokens) return counts;
    for (const { index } of worthwhile) counts[index] = depth;
    costMs += addedMs;
    numTokens += gain;
  }
}
