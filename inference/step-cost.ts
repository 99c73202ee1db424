// What a step costs by the number of its rows, learnt from the steps themselves. Roughly it is a fixed part (weights are read
// once) and a part per row: exponentially weighted least squares, so that it follows the machine's mood. But kernels work in
// panels of rows, and the ninth may cost more than the eight before it: numbers of rows that come often are known by
// themselves.

/** Weight of the past at each new step. */
const DECAY = 0.98;
/** Larger steps are prompts; their rows are cheaper, and nobody speculates beside them anyway. */
const MAX_ROWS = 64;
/** Steps before the estimate is believed. */
const MIN_STEPS = 8;
/** Without steps of different sizes to learn from: on a CPU about five rows cost what reading the weights does. */
const PRIOR_FIXED_ROWS = 5;
const MAX_FIXED_ROWS = 64;
/** Weight of the line beside the steps of one size: with fewer steps than this it is believed more than they are. */
const LINE_WEIGHT = 8;
/** Weight of the past of one size at each new step, of whatever size: what is not seen for long is forgotten. */
const SIZE_DECAY = 0.998;

/** Milliseconds of a step: fixed + rows × row. */
export interface StepEstimate {
  readonly fixedMs: number;
  readonly rowMs: number;
}

/** In rows. */
export const PRIOR_ESTIMATE: StepEstimate = { fixedMs: PRIOR_FIXED_ROWS, rowMs: 1 };

export class StepCost {
  #numSteps = 0;
  #weight = 0;
  #rows = 0;
  #ms = 0;
  #rowsRows = 0;
  #rowsMs = 0;
  /** By number of rows: weight of its steps, and their weighted milliseconds. */
  readonly #sizeWeights = new Float64Array(MAX_ROWS + 1);
  readonly #sizeMs = new Float64Array(MAX_ROWS + 1);

  /** Steps of so many rows took so long, each of several alike when these are means. */
  observe(numRows: number, durationMs: number): void {
    if (numRows > MAX_ROWS) return;
    this.#numSteps += 1;
    this.#weight = this.#weight * DECAY + 1;
    this.#rows = this.#rows * DECAY + numRows;
    this.#ms = this.#ms * DECAY + durationMs;
    this.#rowsRows = this.#rowsRows * DECAY + numRows * numRows;
    this.#rowsMs = this.#rowsMs * DECAY + numRows * durationMs;
    for (let size = 0; size <= MAX_ROWS; size += 1) {
      // Its own size forgets as fast as the line.
      const decay = size === Math.round(numRows) ? DECAY : SIZE_DECAY;
      this.#sizeWeights[size] = (this.#sizeWeights[size] ?? 0) * decay;
      this.#sizeMs[size] = (this.#sizeMs[size] ?? 0) * decay;
    }
    const size = Math.round(numRows);
    this.#sizeWeights[size] = (this.#sizeWeights[size] ?? 0) + 1;
    this.#sizeMs[size] = (this.#sizeMs[size] ?? 0) + durationMs;
  }

  /** Of a step of so many rows; in rows beyond the fixed part while nothing is known. */
  msOf(numRows: number): number {
    const { fixedMs, rowMs } = this.estimate ?? PRIOR_ESTIMATE;
    const line = fixedMs + numRows * rowMs;
    if (this.#numSteps < MIN_STEPS) return line;
    const weight = this.#sizeWeights[numRows] ?? 0;
    return (line * LINE_WEIGHT + (this.#sizeMs[numRows] ?? 0)) / (LINE_WEIGHT + weight);
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
