// CPU of a running system's processes, from /proc. A process counts with its children (PostgreSQL forks one for each
// connection); the engine's own threads stand beside the process they are in.
import { readdirSync, readFileSync } from 'node:fs';

/** Of run/processes.json. */
export interface NamedProcess {
  readonly name: string;
  readonly pid: number;
}

/** Linux's clock ticks are hundredths of a second on every architecture this runs on. */
const TICK_MS = 10;

/** Milliseconds of CPU used so far, by name; empty where there is no /proc. */
export function readCpu(processes: readonly NamedProcess[]): Map<string, number> {
  const used = new Map<string, number>();
  const children = childrenOf();
  for (const { name, pid } of processes) {
    let total = 0;
    const open = [pid];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      total += statOf(`/proc/${one}/stat`)?.cpuMs ?? 0;
      open.push(...(children.get(one) ?? []));
    }
    const engine = engineThreads(pid);
    if (engine > 0) used.set(`${name} engine`, engine);
    if (total > 0) used.set(name, total - engine);
  }
  return used;
}

function childrenOf(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const entry of readdirOrNone('/proc')) {
    const stat = /^\d+$/.test(entry) ? statOf(`/proc/${entry}/stat`) : null;
    if (stat === null) continue;
    const siblings = children.get(stat.parent) ?? [];
    siblings.push(Number(entry));
    children.set(stat.parent, siblings);
  }
  return children;
}

function engineThreads(pid: number): number {
  let total = 0;
  for (const thread of readdirOrNone(`/proc/${pid}/task`)) {
    const stat = statOf(`/proc/${pid}/task/${thread}/stat`);
    if (stat !== null && stat.command.startsWith('engine-')) total += stat.cpuMs;
  }
  return total;
}

function statOf(path: string): { command: string; parent: number; cpuMs: number } | null {
  try {
    const text = readFileSync(path, 'utf8');
    const [start, end] = [text.indexOf('('), text.lastIndexOf(')')];
    const fields = text.slice(end + 2).split(' ');
    return {
      command: text.slice(start + 1, end),
      parent: Number(fields[1]),
      cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    };
  } catch {
    return null; // It ended meanwhile, or this is no Linux.
  }
}

function readdirOrNone(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
