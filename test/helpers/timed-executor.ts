// An executor by whose own clock a step costs a fixed part and a part per row, and the draft model's steps a share of the
// model's, a tenth unless told otherwise: whether guesses are worth it does not depend on the machine.
import type {
  DraftExecutor,
  Executor,
  ForwardBatch,
  ForwardCallback,
} from '../../inference/forward-batch.ts';

const FIXED_MS = 10;
const ROW_MS = 0.5;

/** Stands still but for the steps of timed executors. */
let nowMs = 0;

/** Everybody's clock is that of the timed executors, until the returned function is called. */
export function followTimedExecutors(): () => void {
  const spy = jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
  return () => spy.mockRestore();
}

export class TimedExecutor implements Executor {
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly numSwapBlocks: number;
  readonly blockCopyMs: number;
  readonly draft: DraftExecutor | null;
  readonly #executor: Executor;

  /**
   * @param executor closed with it
   * @param draftShare cost of the draft model's steps as a share of the model's
   */
  constructor(executor: Executor, draftShare: () => number = () => 0.1) {
    this.#executor = executor;
    this.vocabSize = executor.vocabSize;
    this.contextLength = executor.contextLength;
    this.blockSize = executor.blockSize;
    this.numBlocks = executor.numBlocks;
    this.numSwapBlocks = executor.numSwapBlocks;
    this.blockCopyMs = executor.blockCopyMs;
    this.draft = executor.draft ? timedDraft(executor.draft, draftShare) : null;
  }

  forward(batch: ForwardBatch, callback: ForwardCallback): void {
    this.#executor.forward(batch, (...outcome) => {
      nowMs += FIXED_MS + ROW_MS * batch.tokenIds.length;
      callback(...outcome);
    });
  }

  close(): void {
    this.#executor.close();
  }
}

function timedDraft(draft: DraftExecutor, share: () => number): DraftExecutor {
  const { contextLength, blockSize, numBlocks } = draft;
  return {
    contextLength,
    blockSize,
    numBlocks,
    propose: (batch, counts, callback) =>
      draft.propose(batch, counts, (...outcome) => {
        const numLater = counts.reduce((sum, count) => sum + Math.max(0, count - 1), 0);
        const numRows = batch.tokenIds.length + numLater;
        nowMs += share() * (FIXED_MS * Math.max(1, ...counts) + ROW_MS * numRows);
        callback(...outcome);
      }),
  };
}
