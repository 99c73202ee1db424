// What a test does to the processes of a running system: kill, freeze, thaw, and wait until all of it is well again.
import { readdirSync, readFileSync } from 'node:fs';
import type { ProcessKind } from '../../runtime/child-spec.ts';
import type { ProcessEntry } from '../../runtime/run-files.ts';
import type { TestSystem } from './system.ts';
import { waitFor } from './wait-for.ts';

const READY_TIMEOUT_MS = 60_000;

/** The processes of a kind, in the order of their names. */
export function processesOf(system: TestSystem, kind: ProcessKind): ProcessEntry[] {
  return system
    .processes()
    .filter((each) => each.kind === kind)
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** @throws Error when there is none of that name */
export function processNamed(system: TestSystem, name: string): ProcessEntry {
  const found = system.processes().find((each) => each.name === name);
  if (found === undefined) throw new Error(`No process is named ${name}.`);
  return found;
}

/** Kills a process and all that it spawned (PostgreSQL's backends) at once. One that is gone already is fine. */
export function kill(entry: ProcessEntry): void {
  signalTree(entry.pid, 'SIGKILL');
}

/** Stops a process and all that it spawned where they are, until they are thawed. */
export function freeze(entry: ProcessEntry): void {
  signalTree(entry.pid, 'SIGSTOP');
}

export function thaw(entry: ProcessEntry): void {
  signalTree(entry.pid, 'SIGCONT');
}

/** Freezes for a while; resolves when the process runs again. */
export async function freezeFor(entry: ProcessEntry, ms: number): Promise<void> {
  freeze(entry);
  try {
    await new Promise((resolve) => setTimeout(resolve, ms));
  } finally {
    thaw(entry);
  }
}

/** Resolves when every process of the system answers that it is ready, replacements of killed ones included. */
export async function everyProcessReady(
  system: TestSystem,
  names?: readonly string[],
): Promise<void> {
  await readyBut(system, names, []);
}

/**
 * As everyProcessReady, but of processes whose names begin alike with one of `groups`, two are enough: the others may be on
 * their way back from an earlier kill. Resolves with those that are ready.
 */
export async function enoughReady(
  system: TestSystem,
  names: readonly string[],
  groups: readonly string[],
): Promise<ProcessEntry[]> {
  return readyBut(system, names, groups);
}

function readyBut(
  system: TestSystem,
  names: readonly string[] | undefined,
  groups: readonly string[],
): Promise<ProcessEntry[]> {
  const isSpare = (name: string): boolean => groups.some((group) => name.startsWith(group));
  return waitFor(
    'every process is ready',
    async () => {
      const entries = system.processes();
      const answers = await Promise.all(entries.map(isReady));
      const ready = entries.filter((_, index) => answers[index]);
      const isThere = (wanted: string): boolean => ready.some(({ name }) => name === wanted);
      const isComplete = (names ?? entries.map(({ name }) => name))
        .filter((name) => !isSpare(name))
        .every(isThere);
      const hasTwo = groups.every(
        (group) =>
          ready.filter(({ name }) => name.startsWith(group)).length >=
          Math.min(2, names?.filter((name) => name.startsWith(group)).length ?? 2),
      );
      return isComplete && hasTwo ? ready : null;
    },
    READY_TIMEOUT_MS,
  );
}

async function isReady({ kind, metrics_url: url }: ProcessEntry): Promise<boolean> {
  if (url === undefined || kind === 'supervisor' || kind === 'temporal') return true;
  const { status } = await answerOf(url.replace('/metrics', '/readyz'));
  return status === 200;
}

/** Status and body; status 0 when nobody answers in time. */
export async function answerOf(
  url: string,
  timeoutMs = 3000,
): Promise<{ status: number; body: string; tookMs: number }> {
  const since = performance.now();
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    const body = await response.text();
    return { status: response.status, body, tookMs: performance.now() - since };
  } catch {
    return { status: 0, body: '', tookMs: performance.now() - since };
  }
}

/** Sequences that a worker's engine runs right now; 0 when it does not answer. */
export async function numRunning(worker: ProcessEntry): Promise<number> {
  return gauge(worker, 'colloquy_engine_sequences', 'running');
}

/** Sequences in a state of a worker's engine: running, waiting, preempted or held; 0 when it does not answer. */
export async function numInState(worker: ProcessEntry, state: string): Promise<number> {
  return gauge(worker, 'colloquy_engine_sequences', state);
}

/** KV blocks that sequences of a worker's engine hold. */
export async function numUsedBlocks(worker: ProcessEntry): Promise<number> {
  return gauge(worker, 'colloquy_engine_kv_blocks', 'used');
}

/** The pool's worker that runs a sequence. Frozen ones do not answer, so they are not found. */
export function servingWorker(system: TestSystem, pool: string): Promise<ProcessEntry> {
  return waitFor(`a worker of ${pool} runs a sequence`, async () => {
    for (const worker of system.processes().filter((each) => each.pool === pool))
      if ((await numRunning(worker)) > 0) return worker;
    return null;
  });
}

async function gauge(
  { metrics_url: url }: ProcessEntry,
  name: string,
  state: string,
): Promise<number> {
  const { body } = await answerOf(url ?? '', 1000);
  const found = new RegExp(`^${name}\\{state="${state}"[^}]*\\} (\\d+)`, 'm').exec(body);
  return Number(found?.[1] ?? 0);
}

/** Signals a process and all that it spawned, the parent first; those that are gone are fine. */
export function signalTree(pid: number, signal: NodeJS.Signals): void {
  for (const each of [pid, ...descendantsOf(pid)]) {
    try {
      process.kill(each, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    const parent = parentOf(name);
    if (parent !== null) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const all: number[] = [];
  const collect = (of: number): void => {
    for (const child of children.get(of) ?? []) {
      all.push(child);
      collect(child);
    }
  };
  collect(pid);
  return all;
}

function parentOf(pid: string): number | null {
  try {
    // The name in brackets may hold spaces; what follows the last bracket does not.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null; // It ended meanwhile.
  }
}
