// Restarts the processes of a running system one after the other: asks its supervisor, and watches until all are new.
import { homeFolder } from './home-folder.ts';
import { lockOwner } from './home-lock.ts';
import { signalProcess } from './process-identity.ts';
import { runFiles } from './run-files.ts';
import { systemStatus } from './status.ts';

/** Longer than every process of a large system may drain and start. */
const TIMEOUT_MS = 15 * 60_000;
const POLL_MS = 200;
const SERVICES = ['postgres', 'redis', 'temporal', 'supervisor'];

/**
 * Resolves with the number of restarted processes when each has a ready successor.
 * @throws Error when nothing runs there, or when it takes too long
 */
export async function restartSystem(
  home: string,
  onRestarted: (name: string) => void,
): Promise<number> {
  const owner = lockOwner(runFiles(homeFolder(home).run).lock);
  if (owner === null) throw new Error(`Colloquy does not run in ${home}.`);
  const own = async () =>
    (await systemStatus(home)).processes.filter(({ entry }) => !SERVICES.includes(entry.kind));
  const before = new Map((await own()).map(({ entry }) => [entry.name, entry.identity]));
  const numProcesses = before.size;
  signalProcess(owner, 'SIGUSR2');
  const deadline = Date.now() + TIMEOUT_MS;
  while (before.size > 0) {
    if (Date.now() > deadline)
      throw new Error(`Not restarted in time: ${[...before.keys()].join(', ')}.`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    for (const { entry, state } of await own()) {
      const old = before.get(entry.name);
      if (old === undefined || old === entry.identity || state !== 'ready') continue;
      before.delete(entry.name);
      onRestarted(entry.name);
    }
  }
  return numProcesses;
}
