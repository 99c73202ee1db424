// The machine a report was made on: a ratio travels, an absolute figure does not.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, totalmem } from 'node:os';

export interface Machine {
  readonly date: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly flags: readonly string[];
  readonly memoryGB: number;
  readonly node: string;
  readonly loadAverage: number;
  /** Share of CPU time that the hypervisor took since boot, in percent; null where it is not told. */
  readonly stealPercent: number | null;
}

export function machine(): Machine {
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    cpu: `${cpus()[0]?.model ?? arch()}${cpuModel()}`,
    cores: cpus().length,
    flags: cpuFlags(),
    memoryGB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    loadAverage: loadavg()[0] ?? 0,
    stealPercent: steal(),
  };
}

const isLinux = process.platform === 'linux';

function cpuModel(): string {
  if (!isLinux || arch() !== 'x64') return '';
  const field = (name: string): string =>
    new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '?';
  return ` (family ${field('cpu family')} model ${field('model')})`;
}

function cpuFlags(): string[] {
  if (!isLinux || arch() !== 'x64') return [];
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  return flags.split(' ').filter((flag) => /^(avx|fma|f16c|amx)/.test(flag));
}

function steal(): number | null {
  if (!isLinux) return null;
  const ticks = /^cpu +(.*)$/m
    .exec(readFileSync('/proc/stat', 'utf8'))?.[1]
    ?.split(' ')
    .map(Number);
  if (ticks === undefined) return null;
  const sum = ticks.slice(0, 8).reduce((total, each) => total + each, 0);
  return Math.round(((ticks[7] ?? 0) / sum) * 10_000) / 100;
}

/** Resident bytes of a process; null where /proc has none. */
export function residentBytes(pid: number | 'self' = 'self'): number | null {
  if (!isLinux) return null;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}
