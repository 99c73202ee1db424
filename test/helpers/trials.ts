// How often a trial is repeated, and what its repeats measured: a few in every test run, as many as the bar says on demand.
import { appendFileSync } from 'node:fs';

/** Trials of each kind; `COLLOQUY_TRIALS=200` for the bars. */
export const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 1);

/** A test's time-out for so many trials of at most `eachMs`. */
export const timeFor = (trials: number, eachMs: number): number => 60_000 + trials * eachMs;

/** Adds a line to the file that COLLOQUY_TRIALS_REPORT names, if any: JSON, one object for each set of trials. */
export function reportTrials(name: string, facts: Readonly<Record<string, unknown>>): void {
  const path = process.env['COLLOQUY_TRIALS_REPORT'];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify({ name, ...facts })}\n`);
}

/** Rounded p50, p99 and greatest of some milliseconds. */
export function spread(values: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
