// What a step costs by the number of its rows, learnt from the steps themselves: a fixed part (weights are read once)
// and a part per row. Exponentially weighted least squares, so that it follows the machine's mood.

/** Weight of the past at each new step. */
const DECAY = 0.98;
/** Larger steps are prompts; their rows are cheaper, and nobody speculates beside them anyway. */
const MAX_ROWS = 64;
/** Steps before the estimate is believed. */
const MIN_STEPS = 8;
/** Without steps of different sizes to learn from: on a CPU about five rows cost what reading the weights does. */
const PRIOR_FIXED_ROWS = 5;
const MAX_FIXED_ROWS = 64;

/** Milliseconds of a step: fixed + rows × row. */
export interface StepEstimate {
  readonly fixedMs: number;
  readonly rowMs: number;
}

export class StepCost {
  #numSteps = 0;
  #weight = 0;
  #rows = 0;
  #ms = 0;
  #rowsRows = 0;
  #rowsMs = 0;

  /** Steps of so many rows took so long, each of several alike when these are means. */
  observe(numRows: number, durationMs: number): void {
    if (numRows > MAX_ROWS) return;
    this.#numSteps += 1;
    this.#weight = this.#weight * DECAY + 1;
    this.#rows = this.#rows * DECAY + numRows;
    this.#ms = this.#ms * DECAY + durationMs;
    this.#rowsRows = this.#rowsRows * DECAY + numRows * numRows;
    this.#rowsMs = this.#rowsMs * DECAY + numRows * durationMs;
  }

  /** Rows that cost as much as the fixed part of a step: large where rows are nearly free. */
  get fixedRows(): number {
    const [meanRows, meanMs] = [this.#rows / this.#weight, this.#ms / this.#weight];
    const spread = this.#rowsRows / this.#weight - meanRows * meanRows;
    if (this.#numSteps < MIN_STEPS || spread < 0.25) return PRIOR_FIXED_ROWS;
    const perRow = (this.#rowsMs / this.#weight - meanRows * meanMs) / spread;
    if (!(perRow > 0)) return MAX_FIXED_ROWS;
    return Math.min(MAX_FIXED_ROWS, Math.max(0, meanMs / perRow - meanRows));
  }

  /** Null before there was enough to learn from. */
  get estimate(): StepEstimate | null {
    if (this.#numSteps < MIN_STEPS) return null;
    const { fixedRows } = this;
    const rowMs = this.#ms / this.#weight / (fixedRows + this.#rows / this.#weight);
    return { fixedMs: fixedRows * rowMs, rowMs };
  }
}
