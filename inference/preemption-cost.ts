// Whether a preempted sequence is copied aside or computed again: whichever is measured to be cheaper here.

/** Steps with fewer rows tell of reading weights, not of computing prompts. */
const MIN_ROWS = 32;
/** Weight of a new measurement. */
const WEIGHT = 0.1;
/** Before the first prompt was computed: what a small model on a slow core needs. */
const PRIOR_MS_PER_TOKEN = 0.2;

export class PreemptionCost {
  readonly #blockCopyMs: number;
  #msPerToken = PRIOR_MS_PER_TOKEN;

  /** @param blockCopyMs what the copy of one block takes */
  constructor(blockCopyMs: number) {
    this.#blockCopyMs = blockCopyMs;
  }

  /** A step of so many rows took so long. */
  observeStep(numRows: number, durationMs: number): void {
    if (numRows < MIN_ROWS) return;
    this.#msPerToken += WEIGHT * (durationMs / numRows - this.#msPerToken);
  }

  /** Two copies of each block, out and in, against running all tokens again. */
  isSwapCheaper(numTokens: number, numBlocks: number): boolean {
    return 2 * numBlocks * this.#blockCopyMs < numTokens * this.#msPerToken;
  }
}
