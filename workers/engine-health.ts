// Whether an engine that has work still makes steps. A stalled one is red at once; one that stays so must be replaced, not
// waited for. It looks at the engine on a timer of its own, so that what it says does not depend on who asks when.
import type { EngineStats } from '../contracts/engine.ts';

/** How often it looks. Red comes at the latest this long after the bound. */
export const WATCH_INTERVAL_MS = 250;
/** A look that is later than this was late itself (a suspended process, a busy loop): the engine is not blamed for it. */
const MAX_GAP_MS = 2 * WATCH_INTERVAL_MS;
/**
 * An honest step against the probe's, which has a full budget of rows: four times covers the attention of a full context
 * (three times, for 256 rows behind 8,000 tokens of the 135M model) and a neighbour on the same cores.
 */
const STEP_FACTOR = 4;

export interface EngineHealthOptions {
  /** Without a step for this long while there is work, it is not alive; or for four of the probe's, if that is longer. */
  readonly stallMs: number;
  /** … and for this long, or twice the bound above, onStalled is called. */
  readonly exitMs: number;
  /** Once. @param stalledMs how long there was no step */
  readonly onStalled: (stalledMs: number) => void;
}

/** What it needs to know of an engine. */
type ReadStats = () => Pick<
  EngineStats,
  'numSteps' | 'running' | 'waiting' | 'preempted' | 'lastTokenAtMs'
>;

export class EngineHealth {
  readonly #options: EngineHealthOptions;
  readonly #readStats: ReadStats;
  readonly #now: () => number;
  #stallMs: number;
  #lastLookAt: number;
  #numSteps = -1;
  #stalledMs = 0;
  /** When the engine had last sampled a token as it turned red; undefined while it is not red. */
  #redSince: number | null | undefined = null;
  #hasToldStall = false;
  #timer: NodeJS.Timeout | null = null;

  /** @param now a clock in ms that no one sets back */
  constructor(
    readStats: ReadStats,
    options: EngineHealthOptions,
    now: () => number = () => performance.now(),
  ) {
    this.#readStats = readStats;
    this.#options = options;
    this.#now = now;
    this.#stallMs = options.stallMs;
    this.#lastLookAt = now();
  }

  /** True from the first token on while steps are made; once it was false, a token makes it true again. */
  get isAlive(): boolean {
    return this.#redSince === undefined;
  }

  /** The bound in force. */
  get stallMs(): number {
    return this.#stallMs;
  }

  /**
   * Looks from now on.
   * @param probeStepMs how long a step with a full budget of rows took here
   */
  start(probeStepMs: number): void {
    this.#stallMs = Math.max(this.#options.stallMs, Math.ceil(probeStepMs * STEP_FACTOR));
    this.#lastLookAt = this.#now();
    this.look();
    this.#timer ??= setInterval(() => this.look(), WATCH_INTERVAL_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** One look at the engine; the timer's. */
  look(): void {
    const now = this.#now();
    const elapsed = Math.min(now - this.#lastLookAt, MAX_GAP_MS);
    this.#lastLookAt = now;
    const { numSteps, running, waiting, preempted, lastTokenAtMs } = this.#readStats();
    if (numSteps !== this.#numSteps || running + waiting + preempted === 0) {
      this.#numSteps = numSteps;
      this.#stalledMs = 0;
    } else this.#stalledMs += elapsed;
    if (this.#redSince !== undefined && lastTokenAtMs !== this.#redSince) {
      this.#redSince = undefined;
    }
    if (this.#stalledMs < this.#stallMs) return;
    if (this.#redSince === undefined) this.#redSince = lastTokenAtMs;
    if (this.#stalledMs < Math.max(this.#options.exitMs, 2 * this.#stallMs)) return;
    if (this.#hasToldStall) return;
    this.#hasToldStall = true;
    this.#options.onStalled(this.#stalledMs);
  }
}
