// What the nemesis will do, as data: drawn from a seed within the rules, written to a file, cut down by shrink.ts.
import { readFileSync } from 'node:fs';
import { randomNumbers } from '../random-numbers.ts';
import { mayFollow, NETWORK_ACTIONS, PROCESS_ACTIONS } from './rules.ts';
import type { Action, Step, Target, TargetClass } from './rules.ts';

export interface ScheduleOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** Default 5000. */
  readonly everyMs?: number;
  readonly targets: readonly Target[];
  /** Chosen three times as often: what a deployment is tested for. */
  readonly focus?: TargetClass;
}

type Weights = Readonly<Record<TargetClass, number>>;

/** How often each class is chosen, before the rules. */
const WEIGHTS: Weights = Object.freeze({
  'inference-worker': 6,
  gateway: 6,
  'turn-worker': 2,
  'background-worker': 1,
  postgres: 3,
  redis: 3,
  temporal: 3,
  network: 4,
});
/** A freeze or a fault of the network lasts so long: long enough to be taken for dead, short of what ends a turn. */
const LEAST_MS = 500;
const MOST_MS = 4000;
const TRIES = 50;
const FOCUS = 3;
/** Turns have to run before something can happen to them. */
const FIRST_MS = 5000;

/** Same options, same schedule. */
export function drawSchedule({
  seed,
  durationMs,
  everyMs = 5000,
  targets,
  focus,
}: ScheduleOptions): Step[] {
  const random = randomNumbers(seed);
  const weights = focus === undefined ? WEIGHTS : { ...WEIGHTS, [focus]: WEIGHTS[focus] * FOCUS };
  const steps: Step[] = [];
  for (let at = everyMs; at < durationMs; at += everyMs) {
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      const step = drawStep(random, at, targets, weights);
      if (step === null || !steps.every((each) => mayFollow(each, step))) continue;
      steps.push(step);
      break;
    }
  }
  return steps;
}

function drawStep(
  random: () => number,
  at: number,
  targets: readonly Target[],
  weights: Weights,
): Step | null {
  const kinds = Object.keys(WEIGHTS).filter((kind) =>
    targets.some((each) => each.kind === kind),
  ) as TargetClass[];
  const kind = weighted(kinds, weights, random());
  const target = pick(
    targets.filter((each) => each.kind === kind),
    random(),
  );
  const action = pick<Action>(kind === 'network' ? NETWORK_ACTIONS : PROCESS_ACTIONS, random());
  const length = random();
  if (target === undefined || action === undefined) return null;
  const lasts = !['kill', 'restart', 'reset'].includes(action);
  return {
    at,
    action,
    target: target.name,
    kind: target.kind,
    ms: lasts ? Math.round(LEAST_MS + length * (MOST_MS - LEAST_MS)) : 0,
    ...(target.forgets === true ? { forgets: true } : {}),
  };
}

function weighted(
  kinds: readonly TargetClass[],
  weights: Weights,
  share: number,
): TargetClass | undefined {
  let left = share * kinds.reduce((sum, kind) => sum + weights[kind], 0);
  return kinds.find((kind) => (left -= weights[kind]) < 0);
}

function pick<Item>(items: readonly Item[], share: number): Item | undefined {
  return items[Math.floor(share * items.length)];
}

/** The steps of a window of time, moved to the beginning of a storm: what a failure at its end can have come from. */
export function stepsBetween(steps: readonly Step[], from: number, to: number): Step[] {
  const inside = steps.filter(({ at }) => at >= from && at <= to);
  const lead = Math.max(0, (inside[0]?.at ?? 0) - FIRST_MS);
  return inside.map((each) => ({ ...each, at: each.at - lead }));
}

/** @param path a JSON array of steps, as a failed run wrote it */
export function readSchedule(path: string): Step[] {
  return JSON.parse(readFileSync(path, 'utf8')) as Step[];
}
