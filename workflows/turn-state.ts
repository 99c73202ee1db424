// What a turn's workflow remembers: its stage, whether a cancel was asked for, and the scope that a cancel ends.
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { TurnProgress, TurnStage } from '../contracts/turn-workflow.ts';

export class TurnState {
  stage: TurnStage = 'prepare';
  /** Counts generations asked for; with Temporal's attempt it makes the epoch. */
  dispatch = 0;
  #isCancelRequested = false;
  #cancellable: CancellationScope | null = null;

  get isCancelRequested(): boolean {
    return this.#isCancelRequested;
  }

  get progress(): TurnProgress {
    return {
      stage: this.stage,
      isCancelRequested: this.#isCancelRequested,
      dispatch: this.dispatch,
    };
  }

  requestCancel(): void {
    this.#isCancelRequested = true;
    this.#cancellable?.cancel();
  }

  /** Runs `work` so that a cancel, earlier or later, ends it; null when it did. */
  async unlessCancelled<Result>(work: () => Promise<Result>): Promise<Result | null> {
    if (this.#isCancelRequested) return null;
    const scope = new CancellationScope();
    this.#cancellable = scope;
    try {
      return await scope.run(work);
    } catch (error) {
      if (this.#isCancelRequested && isCancellation(error)) return null;
      throw error;
    } finally {
      this.#cancellable = null;
    }
  }
}
