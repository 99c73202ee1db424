// Stops the system of a home from outside: asks its supervisor, and ends what a crashed one left.
import { homeFolder } from './home-folder.ts';
import { lockOwner } from './home-lock.ts';
import { endOrphans } from './orphans.ts';
import { isRunning, signalProcess } from './process-identity.ts';
import { clearRunFiles, readProcesses, runFiles } from './run-files.ts';

/** Gateways and workers drain one after the other, then services stop: the sum of their default bounds. */
const ORDERLY_MS = 90_000;
const POLL_MS = 50;

export interface StopReport {
  readonly wasRunning: boolean;
  /** Names of processes that had to be ended without their supervisor. */
  readonly ended: readonly string[];
}

/** Resolves when nothing of that home runs any more. @throws Error when a process survives SIGKILL */
export async function stopSystem(home: string): Promise<StopReport> {
  const files = runFiles(homeFolder(home).run);
  const owner = lockOwner(files.lock);
  if (owner !== null) {
    signalProcess(owner, 'SIGTERM');
    signalProcess(owner, 'SIGCONT');
    const deadline = Date.now() + ORDERLY_MS;
    while (isRunning(owner) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    signalProcess(owner, 'SIGKILL');
  }
  const entries = readProcesses(files.processes);
  const ended = await endOrphans(entries);
  if (entries.length > 0) clearRunFiles(files);
  return { wasRunning: owner !== null, ended };
}
