// Two full Temporal servers on one PostgreSQL behind HAProxy, on this machine: the set-up of docs/deploy/temporal.md for
// tests and rehearsals.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { embeddedPostgres } from '../embedded-postgres.ts';
import { logPath } from '../log-files.ts';
import { acceptsConnections } from '../probes.ts';
import { deployConfig } from './config-file.ts';
import { temporalBuild } from './temporal-build.ts';
import { createNamespace } from './temporal-namespaces.ts';
import { prepareTemporalSchema } from './temporal-schema.ts';
import type { ChildSpec } from '../child-spec.ts';
import type { EmbeddedService, ServiceContext } from '../embedded-service.ts';
import type { TemporalBuild } from './temporal-build.ts';

export interface TemporalClusterOptions {
  /** Inject persistence faults as docs/deploy/temporal-faults.yaml says. */
  readonly hasFaults: boolean;
  readonly namespace: string;
}

export interface TemporalCluster {
  /** host:port for TEMPORAL_ADDRESS: HAProxy's. */
  readonly address: string;
  readonly postgres: EmbeddedService;
  /** Creates the databases; needs PostgreSQL. */
  readonly prepare: () => Promise<void>;
  /** temporal-1, temporal-2 and temporal-haproxy. */
  readonly specs: readonly ChildSpec[];
  /** Creates namespace and search attributes; resolves when both servers can run workflows in it. */
  readonly form: () => Promise<void>;
}

const NUM_SERVERS = 2;
const SERVICE_PORTS = ['7233', '6933', '7235', '6935', '7234', '6934', '7239', '6939', '8000'];

export async function temporalCluster(
  context: ServiceContext,
  root: string,
  options: TemporalClusterOptions,
): Promise<TemporalCluster> {
  const haproxy = findHaproxy();
  const build = await temporalBuild(context);
  const postgres = await embeddedPostgres(context);
  const specs: ChildSpec[] = [];
  const frontends: string[] = [];
  for (let index = 1; index <= NUM_SERVERS; index += 1) {
    const name = `temporal-${index}`;
    const ports = new Map<string, number>();
    for (const port of SERVICE_PORTS)
      ports.set(port, await context.ports.portFor(`${name}-${port}`));
    frontends.push(`127.0.0.1:${ports.get('7233')}`);
    specs.push(serverSpec(context, root, { name, build, ports, postgres, ...options }));
  }
  const address = `127.0.0.1:${await context.ports.portFor('temporal-haproxy')}`;
  specs.push(haproxySpec(context, root, haproxy, address, frontends));
  return {
    address,
    postgres,
    prepare: () => prepareTemporalSchema(build, postgres.url),
    specs,
    form: () => createNamespace(frontends, options.namespace),
  };
}

interface ServerSettings extends TemporalClusterOptions {
  readonly name: string;
  readonly build: TemporalBuild;
  /** Port in the example → port here. */
  readonly ports: ReadonlyMap<string, number>;
  readonly postgres: EmbeddedService;
}

function serverSpec(context: ServiceContext, root: string, settings: ServerSettings): ChildSpec {
  const { name, build, ports, postgres, hasFaults } = settings;
  const { home, env } = context;
  const folder = join(home.temporal, name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const dynamicConfig = join(folder, 'dynamic-config.yaml');
  writeFileSync(dynamicConfig, deployConfig(root, 'temporal-dynamic-config.yaml', {}));
  const database = new URL(postgres.url);
  const values: Record<string, string> = {
    '127.0.0.1:5432': database.host,
    'change-me': decodeURIComponent(database.password),
    '/etc/temporal/dynamic-config.yaml': dynamicConfig,
  };
  for (const [example, port] of ports) values[example] = String(port);
  if (hasFaults) values['      # faults\n'] = faultInjection(root);
  const configuration = join(folder, 'server.yaml');
  writeFileSync(configuration, deployConfig(root, 'temporal-server.yaml', values), { mode: 0o600 });
  return {
    name,
    kind: 'temporal',
    command: build.server,
    args: ['--config-file', configuration, '--allow-no-auth', 'start'],
    env,
    workingFolder: folder,
    log: logPath(home.logs, name),
    metricsUrl: `http://127.0.0.1:${ports.get('8000')}/metrics`,
    isReady: () => acceptsConnections('127.0.0.1', ports.get('7233') ?? 0),
    stopSignal: 'SIGTERM',
    stopMs: 15_000,
  };
}

/** The example's block at the place in the server's file where it belongs. */
function faultInjection(root: string): string {
  const lines = deployConfig(root, 'temporal-faults.yaml', {}).split('\n');
  return lines.map((line) => (line === '' ? '' : `${' '.repeat(6)}${line}\n`)).join('');
}

function haproxySpec(
  context: ServiceContext,
  root: string,
  command: string,
  address: string,
  [one = '', two = '']: readonly string[],
): ChildSpec {
  const configuration = join(context.home.temporal, 'haproxy.cfg');
  const values = { '127.0.0.1:7233': address, '10.0.0.1:7233': one, '10.0.0.2:7233': two };
  writeFileSync(configuration, deployConfig(root, 'haproxy-temporal.cfg', values));
  return {
    name: 'temporal-haproxy',
    kind: 'temporal',
    command,
    args: ['-db', '-f', configuration],
    env: context.env,
    workingFolder: context.home.temporal,
    log: logPath(context.home.logs, 'temporal-haproxy'),
    isReady: () => acceptsConnections('127.0.0.1', Number(address.split(':')[1])),
    stopSignal: 'SIGTERM',
    stopMs: 5000,
  };
}

function findHaproxy(): string {
  const search = { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin' };
  try {
    return execFileSync('/bin/sh', ['-c', 'command -v haproxy'], {
      encoding: 'utf8',
      env: search,
    }).trim();
  } catch (error) {
    throw new Error('There is no haproxy (Debian: apt install haproxy).', { cause: error });
  }
}
