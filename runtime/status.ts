// What runs in a home, as `npm run status` shows it.
import { homeFolder } from './home-folder.ts';
import { lockOwner } from './home-lock.ts';
import { viewOf } from '../postgres/replication-admin.ts';
import { isRunning } from './process-identity.ts';
import { answersOk } from './probes.ts';
import { readEndpoints, readProcesses, runFiles } from './run-files.ts';
import type { Endpoints, ProcessEntry } from './run-files.ts';

export interface ProcessStatus {
  readonly entry: ProcessEntry;
  /** ready and not ready by the process's own word; services have no such page and are only running or gone. */
  readonly state: 'ready' | 'not ready' | 'running' | 'gone';
  /** Of a node of a replicated PostgreSQL: its role, and how far behind a standby is. */
  readonly role?: string;
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
  const endpoints = readEndpoints(files.endpoints);
  const [states, roles] = await Promise.all([
    Promise.all(entries.map(stateOf)),
    nodeRoles(endpoints?.postgres_nodes ?? []),
  ]);
  const processes = entries.map((entry, index) => {
    const role = roles.get(entry.name);
    return { entry, state: states[index] ?? 'gone', ...(role === undefined ? {} : { role }) };
  });
  return { supervisorPid: lockOwner(files.lock)?.pid ?? null, endpoints, processes };
}

/** Process name → role in words. */
async function nodeRoles(
  nodes: NonNullable<Endpoints['postgres_nodes']>,
): Promise<ReadonlyMap<string, string>> {
  const views = await Promise.all(
    nodes.map(async ({ name, url }) => ({ name, view: await viewOf(url) })),
  );
  const primary = views.find(({ view }) => view?.isStandby === false)?.view;
  return new Map(
    views.map(({ name, view }) => {
      if (view === null) return [name, 'does not answer'];
      const { timeline, lsn } = view.position;
      if (!view.isStandby) return [name, `primary, timeline ${timeline}`];
      const behind = primary === undefined || primary === null ? null : primary.position.lsn - lsn;
      const follows = view.isStreaming ? 'streaming' : 'not streaming';
      return [
        name,
        `replica, ${follows}${behind === null ? '' : `, ${Math.max(0, behind)} bytes behind`}`,
      ];
    }),
  );
}

async function stateOf(entry: ProcessEntry): Promise<ProcessStatus['state']> {
  if (!isRunning(entry)) return 'gone';
  if (entry.metrics_url === undefined || entry.kind === 'temporal') return 'running';
  return (await answersOk(entry.metrics_url.replace(/\/metrics$/, '/readyz')))
    ? 'ready'
    : 'not ready';
}
