// What the clients of one run share: the conversations, the next value, the turns that are known, and the history.
import { appendFileSync } from 'node:fs';
import type { Operation } from '../../bench/chaos/history.ts';
import type { Caller } from './turn-client.ts';

export interface KnownTurn {
  readonly conversation: string;
  readonly turnId: string;
  readonly tier: Tier;
  /** Entries that some reader had, the last one left out; a later reader may begin behind any of them. */
  readonly ids: readonly number[];
  /** What was asked for, but for the message. */
  readonly params: SamplingParams;
  /** First POST and end, ms. */
  readonly begin: number;
  readonly end: number;
}

export interface SamplingParams {
  readonly max_tokens: number;
  readonly temperature: number;
  readonly seed: number;
}

export type Tier = 'free' | 'enterprise';

export interface ListOfTurns {
  readonly id: string;
  readonly tier: Tier;
  /** Values that were sent to it; a list that has enough of them is left for a new one. */
  numValues: number;
}

export class World {
  readonly #path: string;
  readonly #startedAt = Date.now();
  readonly #callers: (tier: Tier) => Caller[];
  #lastValue = 0;
  readonly history: Operation[] = [];
  readonly turns: KnownTurn[] = [];
  readonly conversations: { id: string; tier: Tier }[] = [];
  /** Name of a place → the conversation that is there now; places with two clients are shared. */
  readonly places = new Map<string, ListOfTurns>();

  /** @param path of the history; each operation is a line, written as it ends */
  constructor(path: string, callers: (tier: Tier) => Caller[]) {
    this.#path = path;
    this.#callers = callers;
  }

  /** Wall clock, ms, at 0 of the run. */
  get startedAt(): number {
    return this.#startedAt;
  }

  /** ms since the run began. */
  now(): number {
    return Date.now() - this.#startedAt;
  }

  callers(tier: Tier): Caller[] {
    return this.#callers(tier);
  }

  nextValue(): number {
    return (this.#lastValue += 1);
  }

  record(operation: Operation): void {
    this.history.push(operation);
    appendFileSync(this.#path, `${JSON.stringify(operation)}\n`);
  }
}
