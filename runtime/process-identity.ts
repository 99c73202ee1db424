// Which process a pid means. Pids are reused, so a recorded pid alone must never be signalled: the identity is its start
// time (and the machine's boot), which no later process with that pid shares.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  readonly identity: string;
}

/**
 * @returns null when there is no such process, or it is a zombie that only waits to be reaped
 * Source: proc_pid_stat(5), field 3 (state) and field 22 (starttime, in clock ticks after boot).
 */
export function identityOf(pid: number): string | null {
  return process.platform === 'linux' ? linuxIdentity(pid) : psIdentity(pid);
}

/** True while the very process that was recorded runs. */
export function isRunning(recorded: ProcessIdentity): boolean {
  return identityOf(recorded.pid) === recorded.identity;
}

/** This process, as others will find it. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, identity: identityOf(process.pid) ?? 'unknown' };
}

/**
 * Sends a signal to the recorded process and to no other.
 * @returns false when it is gone
 */
export function signalProcess(recorded: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(recorded)) return false;
  try {
    return process.kill(recorded.pid, signal);
  } catch {
    return false;
  }
}

function linuxIdentity(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name is in parentheses and may hold spaces and parentheses itself: count fields after the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, startTime] = [fields[0], fields[19]];
    return state === 'Z' || state === 'X' || startTime === undefined
      ? null
      : `${bootId()}:${startTime}`;
  } catch {
    return null;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'boot';
  }
}

function psIdentity(pid: number): string | null {
  try {
    const [state, ...started] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .trim()
      .split(/\s+/);
    return state === undefined || state === '' || state.startsWith('Z') ? null : started.join(' ');
  } catch {
    return null;
  }
}
