// Entry of a rehearsed deployment's supervisor: `temporal [--faults]` or `valkey [--replicas N]`, in COLLOQUY_HOME. Tells
// the script that started it over IPC, then lives until SIGTERM. What it starts is restarted when it dies.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createHomeFolder, homeFolder, writeFileAtomically } from '../home-folder.ts';
import { acquireLock } from '../home-lock.ts';
import { logPath } from '../log-files.ts';
import { endOrphans } from '../orphans.ts';
import { PortBook } from '../ports.ts';
import { ProcessSet } from '../process-set.ts';
import { clearRunFiles, readProcesses, runFiles } from '../run-files.ts';
import { temporalCluster } from './temporal-cluster.ts';
import { valkeyCluster } from './valkey-cluster.ts';
import type { ChildSpec } from '../child-spec.ts';
import type { ServiceContext } from '../embedded-service.ts';
import type { Progress } from '../progress.ts';

const READY_TIMEOUT_MS = 60_000;

/** What run/deployment.json says. */
export interface Deployment {
  readonly kind: 'temporal' | 'valkey';
  /** Set these for `npm start`, and Colloquy runs on it. */
  readonly env: Readonly<Record<string, string>>;
  /** JSON file that lists the processes with their pids, as they are now. */
  readonly processes: string;
}

function tell(message: Record<string, unknown>): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

const progress: Progress = {
  begin: (task) => tell({ type: 'begin', task }),
  update: (task, note) => tell({ type: 'update', task, note }),
  done: (task, note) => tell({ type: 'done', task, note }),
  line: (text) => tell({ type: 'line', text }),
};

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      faults: { type: 'boolean', default: false },
      replicas: { type: 'string', default: '1' },
      runtime: { type: 'string', default: '' },
    },
  });
  const [kind] = positionals;
  const own = homeFolder(process.env['COLLOQUY_HOME'] ?? '');
  // Wheels and builds are the checkout's, whatever home the data is in.
  const home = values.runtime === '' ? own : { ...own, runtime: values.runtime };
  createHomeFolder(home);
  const files = runFiles(home.run);
  const release = acquireLock(files.lock);
  await endOrphans(readProcesses(files.processes));
  const processes = new ProcessSet({
    path: files.processes,
    supervisor: { name: 'supervisor', kind: 'supervisor', log: logPath(home.logs, 'supervisor') },
    onChange: ({ spec, state }) => progress.line(`${spec.name}: ${state}`),
    onWriteError: (error) => progress.line(`${files.processes}: ${error.message}`),
  });
  const abort = new AbortController();
  let stopping: Promise<void> | null = null;
  const stop = (exitCode: number): Promise<void> =>
    (stopping ??= (async () => {
      abort.abort();
      await processes.stop();
      clearRunFiles(files);
      release();
      process.exit(exitCode);
    })());
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => void stop(0));
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  );
  const context: ServiceContext = {
    home,
    ports: new PortBook(files.ports),
    env: { ...env, COLLOQUY_HOME: home.root },
    progress,
    signal: abort.signal,
  };
  const add = (specs: readonly ChildSpec[]): Promise<unknown> =>
    Promise.all(specs.map((spec) => processes.add(spec).whenReady(READY_TIMEOUT_MS)));
  try {
    const variables =
      kind === 'temporal'
        ? await startTemporal(context, add, values.faults)
        : await startValkey(context, add, Number(values.replicas));
    const deployment: Deployment = {
      kind: kind === 'temporal' ? 'temporal' : 'valkey',
      env: variables,
      processes: files.processes,
    };
    context.ports.save();
    const path = join(home.run, 'deployment.json');
    writeFileAtomically(path, `${JSON.stringify(deployment, null, 2)}\n`);
    tell({ type: 'ready', path, deployment });
  } catch (error) {
    tell({ type: 'failed', message: (error as Error).message });
    await stop(1);
  }
}

type Add = (specs: readonly ChildSpec[]) => Promise<unknown>;

async function startTemporal(
  context: ServiceContext,
  add: Add,
  hasFaults: boolean,
): Promise<Record<string, string>> {
  const cluster = await temporalCluster(context, process.cwd(), {
    hasFaults,
    namespace: 'default',
  });
  await add([cluster.postgres.spec]);
  await cluster.postgres.whenReady?.();
  await cluster.prepare();
  await add(cluster.specs);
  await cluster.form();
  return { TEMPORAL_ADDRESS: cluster.address };
}

async function startValkey(
  context: ServiceContext,
  add: Add,
  replicasEach: number,
): Promise<Record<string, string>> {
  const cluster = await valkeyCluster(context, process.cwd(), replicasEach);
  await add(cluster.specs);
  await cluster.form();
  return { REDIS_URL: cluster.url };
}

main().catch((error: unknown) => {
  tell({ type: 'failed', message: (error as Error).message });
  process.exit(1);
});
