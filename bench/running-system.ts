// The running system that COLLOQUY_HOME describes, as benches see it.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export interface RunningSystem {
  readonly home: string;
  readonly gateway: string;
  readonly temporal: string;
  readonly postgres: string;
  /** All nodes of the embedded PostgreSQL, when it has standbys. */
  readonly postgres_nodes?: readonly { readonly name: string; readonly url: string }[];
  readonly redis: string;
  readonly tokens: Readonly<Record<string, string>>;
  /** Tier → the demo user's id. */
  readonly users: Readonly<Record<string, string>>;
  readonly processes: readonly RunningProcess[];
}

export interface RunningProcess {
  readonly name: string;
  readonly kind: string;
  readonly pid: number;
  readonly metrics_url?: string;
}

/** @throws Error when nothing runs there */
export function runningSystem(): RunningSystem {
  const home = resolve(process.env['COLLOQUY_HOME'] ?? '.colloquy');
  const read = (file: string): unknown => JSON.parse(readFileSync(join(home, 'run', file), 'utf8'));
  try {
    const endpoints = read('endpoints.json') as Omit<RunningSystem, 'home' | 'processes'>;
    return { ...endpoints, home, processes: read('processes.json') as RunningProcess[] };
  } catch (error) {
    throw new Error(`No system runs in ${home}: npm start -- --detach first.`, { cause: error });
  }
}

/** What names the system's services in the environment of a process. */
export function serviceVariables({
  postgres,
  redis,
  temporal,
}: RunningSystem): Readonly<Record<'DATABASE_URL' | 'REDIS_URL' | 'TEMPORAL_ADDRESS', string>> {
  return { DATABASE_URL: postgres, REDIS_URL: redis, TEMPORAL_ADDRESS: temporal };
}
