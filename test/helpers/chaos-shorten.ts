// After a run that failed: a short schedule that fails in the same way, found by running parts of it on fresh systems.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stepsBetween } from '../../bench/chaos/schedule.ts';
import type { Step } from '../../bench/chaos/rules.ts';
import { shrink } from '../../bench/chaos/shrink.ts';
import { commandOf, runChaos } from './chaos-run.ts';
import type { ChaosOptions, ChaosResult } from './chaos-run.ts';

/** A failure comes from the minute before it, as a rule; a turn may take as long. */
const BEFORE_MS = 60_000;
/** Clients go on for so long after the last fault. */
const AFTER_MS = 10_000;

export interface Shortened {
  readonly steps: readonly Step[];
  readonly isMinimal: boolean;
  readonly numTries: number;
  readonly command: string;
}

/**
 * Null when the minute before the first anomaly does not fail again: it needs what came before, or a moment that a run
 * does not meet twice. Writes short-schedule.json.
 */
export async function shorten(
  options: ChaosOptions,
  { schedule, verdict, final }: ChaosResult,
  deadline: number,
): Promise<Shortened | null> {
  const kinds = new Set(verdict.anomalies.map(({ kind }) => kind));
  const turns = new Map(
    final.conversations.flatMap((each) => each.turns.map((turn) => [turn.turnId, turn.createdAt])),
  );
  const times = verdict.anomalies.map(({ at, turnId = '' }) => at ?? turns.get(turnId) ?? Infinity);
  const first = Math.min(options.durationMs, ...times);
  const window = stepsBetween(schedule, first - BEFORE_MS, first + AFTER_MS);
  const durationOf = (steps: readonly Step[]): number => {
    const last = steps.at(-1);
    return (last === undefined ? 0 : last.at + last.ms) + AFTER_MS;
  };
  let number = 0;
  const fails = async (steps: readonly Step[]): Promise<boolean> => {
    number += 1;
    const folder = join(options.folder, `try-${number}`);
    const durationMs = durationOf(steps);
    const tried = await runChaos({ ...options, schedule: steps, durationMs, folder });
    return tried.verdict.anomalies.some(({ kind }) => kinds.has(kind));
  };
  if (!(await fails(window))) return null;
  const { items, isMinimal, numTries } = await shrink(window, fails, () => Date.now() < deadline);
  const path = join(options.folder, 'short-schedule.json');
  writeFileSync(path, `${JSON.stringify(items, null, 1)}\n`);
  const command = commandOf({ ...options, durationMs: durationOf(items) }, path);
  return { steps: items, isMinimal, numTries, command };
}
