// What a load run comes to: histograms, refusals, and goodput: turns that met every objective of their tier.
import { Histogram } from '../histogram.ts';
import type { TimedTurn } from './timed-turn.ts';

export type LoadTier = 'free' | 'paid';

/** The objectives of the service. */
export const OBJECTIVES = Object.freeze({ ttftMs: { paid: 800, free: 2000 }, tpotMs: 80 });

export class Tally {
  readonly #outcomes = new Map<string, number>();
  readonly #ttft = { paid: new Histogram(), free: new Histogram() };
  readonly #gaps = new Histogram();
  readonly #tpot = new Histogram();
  readonly #done = new Histogram();
  #turns = 0;
  #good = 0;
  #outputTokens = 0;
  #promptTokens = 0;

  add(tier: LoadTier, turn: TimedTurn): void {
    this.#turns += 1;
    const isDone = turn.status === 200 && turn.finishReason !== null;
    const outcome = isDone ? (turn.finishReason ?? '') : `status ${turn.status}`;
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    if (turn.ttftMs !== null) this.#ttft[tier].add(turn.ttftMs);
    for (const gap of turn.gapsMs) this.#gaps.add(gap);
    if (turn.tpotMs !== null) this.#tpot.add(turn.tpotMs);
    if (isDone) this.#done.add(turn.doneMs);
    this.#outputTokens += turn.outputTokens;
    this.#promptTokens += turn.promptTokens;
    const isGood =
      isDone &&
      turn.finishReason !== 'error' &&
      (turn.ttftMs ?? Infinity) <= OBJECTIVES.ttftMs[tier] &&
      (turn.tpotMs ?? 0) <= OBJECTIVES.tpotMs;
    if (isGood) this.#good += 1;
  }

  summary(seconds: number): {
    turns: number;
    outcomes: Record<string, number>;
    turnsPerSecond: number;
    goodputPerSecond: number;
    goodShare: number;
    outputTokensPerSecond: number;
    promptTokensPerSecond: number;
    ttftMs: Record<LoadTier, ReturnType<Histogram['summary']>>;
    interTokenMs: ReturnType<Histogram['summary']>;
    tpotMs: ReturnType<Histogram['summary']>;
    doneMs: ReturnType<Histogram['summary']>;
  } {
    const rate = (count: number): number => Number((count / seconds).toPrecision(3));
    return {
      turns: this.#turns,
      outcomes: Object.fromEntries(this.#outcomes),
      turnsPerSecond: rate(this.#turns),
      goodputPerSecond: rate(this.#good),
      goodShare: Number((this.#good / Math.max(1, this.#turns)).toPrecision(3)),
      outputTokensPerSecond: rate(this.#outputTokens),
      promptTokensPerSecond: rate(this.#promptTokens),
      ttftMs: { paid: this.#ttft.paid.summary(), free: this.#ttft.free.summary() },
      interTokenMs: this.#gaps.summary(),
      tpotMs: this.#tpot.summary(),
      doneMs: this.#done.summary(),
    };
  }

  /** Of one measure, for whoever plots or adds runs up. */
  histograms(): Record<string, object> {
    return {
      ttftPaidMs: this.#ttft.paid.data(),
      ttftFreeMs: this.#ttft.free.data(),
      interTokenMs: this.#gaps.data(),
      tpotMs: this.#tpot.data(),
    };
  }
}
