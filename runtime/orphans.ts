// Ends what a crashed supervisor left running, so that a new start finds its ports and data folders free. Only the very
// processes that were recorded are signalled.
import { isRunning, signalProcess } from './process-identity.ts';
import type { ProcessEntry } from './run-files.ts';

const ORDERLY_MS = 3000;
const KILLED_MS = 10_000;
const POLL_MS = 20;

/**
 * @param entries the earlier run's processes.json
 * @returns names of those that still ran
 * @throws Error when one survives SIGKILL
 */
export async function endOrphans(entries: readonly ProcessEntry[]): Promise<string[]> {
  const orphans = entries.filter((entry) => entry.pid !== process.pid && isRunning(entry));
  for (const orphan of orphans) {
    // PostgreSQL's SIGTERM waits for its clients to leave; SIGINT does not.
    signalProcess(orphan, orphan.kind === 'postgres' ? 'SIGINT' : 'SIGTERM');
    signalProcess(orphan, 'SIGCONT');
  }
  if (!(await allGone(orphans, ORDERLY_MS))) {
    for (const orphan of orphans) signalProcess(orphan, 'SIGKILL');
    if (!(await allGone(orphans, KILLED_MS))) {
      const left = orphans.filter(isRunning).map((orphan) => `${orphan.name} (${orphan.pid})`);
      throw new Error(`Processes of an earlier run cannot be ended: ${left.join(', ')}.`);
    }
  }
  return orphans.map((orphan) => orphan.name);
}

async function allGone(entries: readonly ProcessEntry[], timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (entries.some(isRunning)) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}
