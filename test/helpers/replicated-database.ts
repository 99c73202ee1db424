// An embedded PostgreSQL with standbys in a home of its own, kept as the supervisor keeps it, with our schema.
import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { migrate } from '../../postgres/migrate.ts';
import { embeddedPostgres } from '../../runtime/embedded-postgres.ts';
import { logPath } from '../../runtime/log-files.ts';
import { PortBook } from '../../runtime/ports.ts';
import { ProcessSet } from '../../runtime/process-set.ts';
import { SILENT } from '../../runtime/progress.ts';
import { startReplicatedPostgres } from '../../runtime/replicated-postgres.ts';
import { runFiles } from '../../runtime/run-files.ts';
import { signalTree } from './system-processes.ts';
import { createTestHome, removeTestHome, ROOT } from './test-home.ts';
import type { OrgId, UserId } from '../../contracts/ids.ts';
import type { HomeFolder } from '../../runtime/home-folder.ts';
import type { PostgresCluster } from '../../runtime/postgres-cluster.ts';
import type { SupervisedProcess } from '../../runtime/supervised-process.ts';

export interface ReplicatedDatabase {
  readonly home: HomeFolder;
  readonly cluster: PostgresCluster;
  /** What the operator was told. */
  readonly told: readonly string[];
  /** Of all nodes, the first primary's first. */
  readonly urls: readonly string[];
  processOf(name: string): SupervisedProcess;
  /** SIGKILL, SIGSTOP or SIGCONT for a node's postmaster and all that it spawned. */
  signal(name: string, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** Runs a statement on a node, as its superuser. */
  on(name: string, statement: string): Promise<Record<string, unknown>[]>;
  newUser(): Promise<{ userId: UserId; orgId: OrgId }>;
  /** Ends all; the folders stay for another start in the same home. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

/** @param home of an earlier one that was stopped */
export async function startReplicatedDatabase(
  numReplicas: number,
  home: HomeFolder = createTestHome(),
): Promise<ReplicatedDatabase> {
  const files = runFiles(home.run);
  const told: string[] = [];
  const abort = new AbortController();
  const processes = new ProcessSet({
    path: files.processes,
    supervisor: { name: 'jest', kind: 'supervisor', log: logPath(home.logs, 'jest') },
    onChange: () => undefined,
    onWriteError: () => undefined,
  });
  const context = {
    home,
    ports: new PortBook(files.ports),
    env: { PATH: process.env['PATH'] ?? '', COLLOQUY_HOME: home.root },
    progress: SILENT,
    signal: abort.signal,
  };
  const first = await embeddedPostgres(context);
  const cluster = await startReplicatedPostgres(first, context, processes, numReplicas, {
    tell: (text) => told.push(text),
    onPrimary: () => undefined,
  });
  context.ports.save();
  await migrate(cluster.primary.url, `${ROOT}/migrations`);
  const urlOf = (name: string): string => {
    const node = cluster.nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`There is no node ${name}.`);
    return node.url;
  };
  const processOf = (name: string): SupervisedProcess => {
    const found = processes.all.find(({ spec }) => spec.name === name);
    if (found === undefined) throw new Error(`There is no process ${name}.`);
    return found;
  };
  const on: ReplicatedDatabase['on'] = async (name, statement) => {
    const client = new Client({ connectionString: urlOf(name) });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(statement)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  const stop = async (): Promise<void> => {
    abort.abort();
    await cluster.stop();
    await processes.stop();
  };
  return {
    home,
    cluster,
    told,
    urls: cluster.nodes.map(({ url }) => url),
    processOf,
    on,
    signal: (name, signal) => {
      const pid = processOf(name).identity?.pid;
      if (pid !== undefined) signalTree(pid, signal);
    },
    newUser: async () => {
      const [orgId, userId] = [randomUUID() as OrgId, randomUUID() as UserId];
      await on(
        cluster.primary.name,
        `insert into organisations (org_id, name) values ('${orgId}', 'replicas');
         insert into users (user_id, org_id, name, tier) values ('${userId}', '${orgId}', 'replicas', 'paid')`,
      );
      return { userId, orgId };
    },
    stop,
    close: async () => {
      await stop();
      removeTestHome(home);
    },
  };
}
