// A whole system for e2e tests: `npm start --detach` in a home of its own, as a user would start it.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readEndpoints, readProcesses, runFiles } from '../../runtime/run-files.ts';
import { createTestHome, removeTestHome, ROOT } from './test-home.ts';
import type { Deployment } from '../../runtime/deploy/deploy-main.ts';
import type { Endpoints, ProcessEntry } from '../../runtime/run-files.ts';
import type { HomeFolder } from '../../runtime/home-folder.ts';

const run = promisify(execFile);

export interface SystemOptions {
  /** Default 1. */
  readonly gateways?: number;
  /** Pool → number of inference workers; default 1 each. */
  readonly workers?: Readonly<Record<string, number>>;
  /** Standbys of the embedded PostgreSQL; default 0. */
  readonly replicas?: number;
  /** Variables on top of the test's own; PORT is 0 unless given. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface TestSystem {
  readonly home: HomeFolder;
  /** run/endpoints.json as it is now. */
  endpoints(): Endpoints;
  /** run/processes.json as it is now. */
  processes(): ProcessEntry[];
  /** `npm start` once more in the same home, after its supervisor was killed. */
  startAgain(): Promise<void>;
  /** Stops everything and removes the home. */
  stop(): Promise<void>;
}

/** Runs a script of ours on a running system; resolves with what it printed. @throws Error when it fails */
export async function runScript(
  system: TestSystem,
  name: string,
  ...args: string[]
): Promise<string> {
  const env = { ...process.env, COLLOQUY_HOME: system.home.root };
  const { stdout } = await run(process.execPath, [join('scripts', name), ...args], {
    cwd: ROOT,
    env,
  });
  return stdout;
}

/**
 * What COLLOQUY_DEPLOYMENT says, the run/deployment.json of an `npm run deploy`: with it these tests run on that set-up
 * instead of on embedded services.
 */
function deploymentEnv(): Readonly<Record<string, string>> {
  const path = process.env['COLLOQUY_DEPLOYMENT'];
  if (path === undefined) return {};
  return (JSON.parse(readFileSync(path, 'utf8')) as Deployment).env;
}

/** Resolves when every process is ready. @throws Error with what the start said */
export async function startSystem(options: SystemOptions = {}): Promise<TestSystem> {
  const home = createTestHome();
  const files = runFiles(home.run);
  // Services of the machine must not be taken for the test's own.
  const none = { DATABASE_URL: '', REDIS_URL: '', TEMPORAL_ADDRESS: '', PORT: '0' };
  const own = { ...none, ...deploymentEnv(), ...options.env };
  const env = { ...process.env, ...own, COLLOQUY_HOME: home.root };
  const script = (name: string, ...args: string[]): Promise<unknown> =>
    run(process.execPath, [join('scripts', name), ...args], { cwd: ROOT, env });
  const stop = async (): Promise<void> => {
    await script('stop.mjs');
    removeTestHome(home);
  };
  const flags = [
    ...(options.gateways === undefined ? [] : ['--gateways', String(options.gateways)]),
    ...(options.replicas === undefined ? [] : ['--replicas', String(options.replicas)]),
    ...Object.entries(options.workers ?? {}).flatMap(([pool, count]) => [
      '--workers',
      `${pool}=${count}`,
    ]),
  ];
  try {
    await script('start.mjs', '--detach', ...flags);
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    await stop();
    throw new Error(`The system did not start:\n${stdout ?? ''}${stderr ?? ''}`, { cause: error });
  }
  return {
    home,
    endpoints: () => {
      const endpoints = readEndpoints(files.endpoints);
      if (endpoints === null) throw new Error('The system has no endpoints: it is not running.');
      return endpoints;
    },
    processes: () => readProcesses(files.processes),
    startAgain: async () => void (await script('start.mjs', '--detach', ...flags)),
    stop,
  };
}
