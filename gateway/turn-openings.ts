// Turns whose logs this process opens. Choosing a turn's facts and opening its log take as long as starting its workflow and
// running its first steps; they go side by side, and the steps, which run in this process as a rule, wait here.
import type { TurnId } from '../contracts/ids.ts';

/** Those that no step asked for here ran elsewhere: the oldest are forgotten. */
const MAX_REMEMBERED = 10_000;

export class TurnOpenings {
  readonly #openings = new Map<TurnId, Promise<unknown>>();

  /** @returns `opening` itself */
  begin<Result>(turnId: TurnId, opening: Promise<Result>): Promise<Result> {
    this.#openings.set(turnId, opening);
    const [oldest] = this.#openings.keys();
    if (this.#openings.size > MAX_REMEMBERED && oldest !== undefined) this.#openings.delete(oldest);
    return opening;
  }

  /** Resolves when the log is open, or could not be opened; at once with false when this process knows nothing of it, or was asked before. */
  async opened(turnId: TurnId): Promise<boolean> {
    const opening = this.#openings.get(turnId);
    this.#openings.delete(turnId);
    await opening?.catch(() => undefined); // Whoever began it tells of its failure.
    return opening !== undefined;
  }
}
