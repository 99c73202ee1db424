// COLLOQUY_HOME/run: what operators, tests and the next start read of the running system. Replaced whole on each change.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeFileAtomically } from './home-folder.ts';
import { PROCESS_KINDS } from './child-spec.ts';
import type { DemoTokens } from './secrets.ts';

const processSchema = z.object({
  name: z.string(),
  kind: z.enum(PROCESS_KINDS),
  pool: z.string().optional(),
  pid: z.int(),
  log: z.string(),
  metrics_url: z.string().optional(),
  /** Start time of the pid, so that a later start can tell the process from another that got its number. */
  identity: z.string(),
});
export type ProcessEntry = z.infer<typeof processSchema>;

export interface Endpoints {
  readonly gateway: string;
  readonly gateways: readonly string[];
  readonly temporal: string;
  readonly temporal_ui: string | null;
  /** The present primary. */
  readonly postgres: string;
  /** All nodes of the embedded PostgreSQL, when it has standbys: process name and URL. */
  readonly postgres_nodes?: readonly { readonly name: string; readonly url: string }[];
  /** Shards 1, 2, …, where there are several. */
  readonly postgres_shards?: readonly string[];
  readonly redis: string;
  readonly tokens: DemoTokens;
  /** Tier → user id. */
  readonly users: Readonly<Record<string, string>>;
}

export interface RunFiles {
  readonly processes: string;
  readonly endpoints: string;
  readonly lock: string;
  readonly ports: string;
  /** An operator's order to promote a standby, until it is carried out; and what came of it. */
  readonly promote: string;
  readonly promoted: string;
}

/** @param runFolder COLLOQUY_HOME/run */
export function runFiles(runFolder: string): RunFiles {
  return {
    processes: join(runFolder, 'processes.json'),
    endpoints: join(runFolder, 'endpoints.json'),
    lock: join(runFolder, 'supervisor.lock'),
    ports: join(runFolder, 'ports.json'),
    promote: join(runFolder, 'promote.json'),
    promoted: join(runFolder, 'promoted.json'),
  };
}

/** Every recorded process; entries of another shape are left out. */
export function readProcesses(path: string): ProcessEntry[] {
  const list = z.array(z.unknown()).safeParse(readJson(path));
  return (list.data ?? []).flatMap((entry) => {
    const parsed = processSchema.safeParse(entry);
    return parsed.success ? [parsed.data] : [];
  });
}

export function writeProcesses(path: string, entries: readonly ProcessEntry[]): void {
  writeFileAtomically(path, `${JSON.stringify(entries, null, 2)}\n`);
}

export function writeEndpoints(path: string, endpoints: Endpoints): void {
  writeFileAtomically(path, `${JSON.stringify(endpoints, null, 2)}\n`);
}

/** The endpoints of the running system as they were written, or null. */
export function readEndpoints(path: string): Endpoints | null {
  return readJson(path) as Endpoints | null;
}

/** After an orderly stop nothing runs and nothing listens. */
export function clearRunFiles(files: RunFiles): void {
  writeProcesses(files.processes, []);
  rmSync(files.endpoints, { force: true });
}
