// A gateway process of the bench's own, on the running system's services and a database of its own: nobody else's turns.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { seedDemo } from '../../postgres/demo-users.ts';
import { migrate } from '../../postgres/migrate.ts';
import { projectPath } from '../../process/paths.ts';
import { killAtExit } from '../relay/child.ts';
import { residentBytes } from '../process-usage.ts';
import { serviceVariables } from '../running-system.ts';
import type { RunningSystem } from '../running-system.ts';

export interface OwnGateway {
  readonly pid: number;
  readonly port: number;
  readonly databaseUrl: string;
  readonly userId: string;
  readonly token: string;
  /** Bytes resident after garbage is collected. */
  collectedBytes(): Promise<number>;
  /** Stops it and drops its database. */
  stop(): Promise<void>;
}

const TOKENS = { free: 'cq_b1', paid: 'cq_b2', enterprise: 'cq_b3', admin: 'cq_b4' };
const COLLECT_MS = 1200;
const COLLECTIONS = 4;

/** @param env of the gateway, beside what names the services */
export async function startOwnGateway(
  system: RunningSystem,
  env: Readonly<Record<string, string>> = {},
): Promise<OwnGateway> {
  const name = `bench_${process.pid}`;
  await onServer(system.postgres, `drop database if exists ${name} with (force)`);
  await onServer(system.postgres, `create database ${name}`);
  const url = new URL(system.postgres);
  url.pathname = `/${name}`;
  await migrate(url.href, projectPath('migrations'));
  const { users } = await seedDemo(url.href, TOKENS);
  const child = spawn(
    process.execPath,
    [
      '--expose-gc',
      '--require',
      projectPath('dist', 'bench', 'streams', 'collect-on-signal.js'),
      projectPath('dist', 'gateway', 'server.js'),
    ],
    {
      cwd: projectPath(),
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        COLLOQUY_HOME: system.home,
        COLLOQUY_PROCESS_NAME: 'gateway-under-test',
        ...serviceVariables(system),
        DATABASE_URL: url.href,
        PORT: '0',
        ...env,
      },
    },
  );
  killAtExit(child);
  const port = await started(child);
  const pid = child.pid ?? NaN;
  return {
    pid,
    port,
    databaseUrl: url.href,
    userId: users.enterprise,
    token: TOKENS.enterprise,
    collectedBytes: async () => {
      // What is collected is given back to the system bit by bit.
      for (let times = 0; times < COLLECTIONS; times += 1) {
        child.kill('SIGUSR2');
        await new Promise((resolve) => setTimeout(resolve, COLLECT_MS));
      }
      return residentBytes(pid);
    },
    stop: async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      await onServer(system.postgres, `drop database if exists ${name} with (force)`);
    },
  };
}

/** The port that its log tells. */
async function started(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error('the gateway has no output');
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}`)));
    createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => {
      const said = parse(line);
      if (said.msg === 'started' && said.port !== undefined) resolve(said.port);
      else if ((said.level ?? 0) >= 40) process.stderr.write(`${line}\n`);
    });
  });
}

function parse(line: string): { msg?: string; port?: number; level?: number } {
  try {
    return JSON.parse(line) as ReturnType<typeof parse>;
  } catch {
    return {};
  }
}

async function onServer(adminUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
