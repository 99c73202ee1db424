// Log files of one home: the last few runs are kept, one file a process and run.
import { readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';

const NUM_KEPT_RUNS = 3;

/** The log of a process. */
export function logPath(logsFolder: string, name: string): string {
  return join(logsFolder, `${name}.log`);
}

/** Moves `x.log` to `x.1.log`, that to `x.2.log` …; the oldest goes. Called before a run, never while one writes. */
export function rotateLog(path: string): void {
  if (sizeOf(path) === 0) return;
  const kept = (age: number): string => (age === 0 ? path : path.replace(/\.log$/, `.${age}.log`));
  for (let age = NUM_KEPT_RUNS; age >= 1; age -= 1) {
    if (sizeOf(kept(age - 1)) > 0) renameSync(kept(age - 1), kept(age));
  }
}

/** The last lines of a file for an error message, or '' when there are none. */
export function lastLines(path: string, numLines: number): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-numLines).join('\n');
  } catch {
    return '';
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
