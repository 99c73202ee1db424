// A set-up of docs/deploy/ for the on-demand suite: `npm run deploy` in a home of its own, and its processes by name.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readProcesses } from '../../runtime/run-files.ts';
import { createTestHome, removeTestHome, ROOT } from './test-home.ts';
import type { Deployment } from '../../runtime/deploy/deploy-main.ts';
import type { ProcessEntry } from '../../runtime/run-files.ts';

const run = promisify(execFile);

export interface RunningDeployment {
  /** Variables for a system that uses it. */
  readonly env: Readonly<Record<string, string>>;
  /** As they are now. */
  processes(): ProcessEntry[];
  /** The port of a process, or of one of its named ports, from run/ports.json. */
  port(name: string): number;
  stop(): Promise<void>;
}

/** @param args of `npm run deploy --` @throws Error with what it said */
export async function startDeployment(...args: string[]): Promise<RunningDeployment> {
  const home = createTestHome();
  const script = (...all: string[]): Promise<unknown> =>
    run(process.execPath, [join('scripts', 'deploy.mjs'), ...all, '--home', home.root], {
      cwd: ROOT,
      env: { ...process.env, COLLOQUY_HOME: '' },
    });
  const stop = async (): Promise<void> => {
    await script('stop');
    removeTestHome(home);
  };
  try {
    await script(...args);
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    await stop();
    throw new Error(`The set-up did not start:\n${stdout ?? ''}${stderr ?? ''}`, { cause: error });
  }
  const read = (file: string): unknown =>
    JSON.parse(readFileSync(join(home.run, file), 'utf8')) as unknown;
  const { env, processes } = read('deployment.json') as Deployment;
  return {
    env,
    processes: () => readProcesses(processes),
    port: (name) => (read('ports.json') as Record<string, number>)[name] ?? 0,
    stop,
  };
}
