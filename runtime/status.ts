// What runs in a home, as `npm run status` shows it.
import { homeFolder } from './home-folder.ts';
import { lockOwner } from './home-lock.ts';
import { isRunning } from './process-identity.ts';
import { answersOk } from './probes.ts';
import { readEndpoints, readProcesses, runFiles } from './run-files.ts';
import type { Endpoints, ProcessEntry } from './run-files.ts';

export interface ProcessStatus {
  readonly entry: ProcessEntry;
  /** ready and not ready by the process's own word; services have no such page and are only running or gone. */
  readonly state: 'ready' | 'not ready' | 'running' | 'gone';
}

export interface SystemStatus {
  readonly supervisorPid: number | null;
  readonly endpoints: Endpoints | null;
  readonly processes: readonly ProcessStatus[];
}

/** Reads run/*.json and asks each process. Changes nothing. */
export async function systemStatus(home: string): Promise<SystemStatus> {
  const files = runFiles(homeFolder(home).run);
  const entries = readProcesses(files.processes);
  const processes = await Promise.all(
    entries.map(async (entry) => ({ entry, state: await stateOf(entry) })),
  );
  return {
    supervisorPid: lockOwner(files.lock)?.pid ?? null,
    endpoints: readEndpoints(files.endpoints),
    processes,
  };
}

async function stateOf(entry: ProcessEntry): Promise<ProcessStatus['state']> {
  if (!isRunning(entry)) return 'gone';
  if (entry.metrics_url === undefined || entry.kind === 'temporal') return 'running';
  return (await answersOk(entry.metrics_url.replace(/\/metrics$/, '/readyz')))
    ? 'ready'
    : 'not ready';
}
