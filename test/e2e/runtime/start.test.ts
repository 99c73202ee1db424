import { execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { lockOwner } from '../../../runtime/home-lock.ts';
import { identityOf } from '../../../runtime/process-identity.ts';
import { readEndpoints, readProcesses, runFiles } from '../../../runtime/run-files.ts';
import { startSystem } from '../../helpers/system.ts';
import { createTestHome, removeTestHome, ROOT } from '../../helpers/test-home.ts';
import { waitFor } from '../../helpers/wait-for.ts';
import type { TestSystem } from '../../helpers/system.ts';

const run = promisify(execFile);

interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** Runs one of our scripts in a home, as `npm` would. */
async function script(home: string, name: string, ...args: string[]): Promise<Outcome> {
  const env = { ...process.env, COLLOQUY_HOME: home, PORT: '0' };
  try {
    const { stdout, stderr } = await run(process.execPath, [join('scripts', name), ...args], {
      cwd: ROOT,
      env,
    });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { code: failed.code, output: failed.stdout + failed.stderr };
  }
}

describe('a detached start with two gateways and two workers of a pool', () => {
  let system: TestSystem;

  beforeAll(async () => {
    system = await startSystem({ gateways: 2, workers: { mini: 2 } });
  }, 120_000);

  afterAll(() => system.stop(), 60_000);

  it('runs every kind of process, each with a log and the home in its environment', () => {
    const processes = system.processes();
    const names = processes.map(({ name }) => name).sort();
    expect(names).toEqual([
      'background-worker-1',
      'gateway-1',
      'gateway-2',
      'inference-default-1',
      'inference-mini-1',
      'inference-mini-2',
      'postgres',
      'redis',
      'supervisor',
      'temporal',
      'turn-worker-1',
    ]);
    for (const { pid, log, name } of processes) {
      expect(existsSync(log)).toBe(true);
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      expect([name, environment.includes(`COLLOQUY_HOME=${system.home.root}`)]).toEqual([
        name,
        true,
      ]);
    }
  });

  it('is ready at every gateway, and every process of ours answers at its metrics URL', async () => {
    for (const gateway of system.endpoints().gateways)
      expect((await fetch(`${gateway}/readyz`)).status).toBe(200);
    const measured = system
      .processes()
      .filter(({ kind }) => kind !== 'postgres' && kind !== 'redis');
    for (const { metrics_url: url } of measured) expect((await fetch(url ?? '')).status).toBe(200);
  });

  it('is shown by status, and refuses a second start of the same home', async () => {
    const status = await waitFor('status is fine', async () => {
      const now = await script(system.home.root, 'status.mjs');
      return now.code === 0 ? now : null;
    });
    expect(status.output).toContain('inference-mini-2');
    const second = await script(system.home.root, 'start.mjs', '--detach');
    expect(second.code).toBe(1);
    expect(second.output).toContain('Colloquy already runs in');
  }, 60_000);

  it('starts a killed worker and a killed gateway again at their URLs', async () => {
    for (const name of ['inference-mini-1', 'gateway-2', 'turn-worker-1']) {
      const before = system.processes().find((each) => each.name === name);
      process.kill(before?.pid ?? 0, 'SIGKILL');
      await waitFor(
        `${name} is back`,
        async () => {
          const now = system.processes().find((each) => each.name === name);
          if (now === undefined || now.pid === before?.pid) return false;
          const url = now.metrics_url?.replace('/metrics', '/readyz') ?? '';
          return (
            now.metrics_url === before?.metrics_url &&
            fetch(url).then(
              (reply) => reply.ok,
              () => false,
            )
          );
        },
        30_000,
      );
    }
  }, 120_000);

  it('comes back after its supervisor was killed, and takes nothing over but the data', async () => {
    const { root, run: runFolder } = system.home;
    const before = system.processes();
    const endpoints = system.endpoints();
    process.kill(lockOwner(runFiles(runFolder).lock)?.pid ?? 0, 'SIGKILL');
    const again = await script(root, 'start.mjs', '--detach', '--gateways', '2');
    expect(again.code).toBe(0);
    expect(again.output).toMatch(/Ended what an earlier run left behind: .*postgres/);
    for (const { pid, identity } of before) expect(identityOf(pid)).not.toBe(identity);
    expect(system.endpoints()).toMatchObject({
      gateways: endpoints.gateways,
      postgres: endpoints.postgres,
      tokens: endpoints.tokens,
      users: endpoints.users,
    });
  }, 60_000);

  it('leaves nothing running after npm stop', async () => {
    const before = system.processes();
    expect((await script(system.home.root, 'stop.mjs')).output).toContain('Stopped.');
    for (const { pid, identity } of before) expect(identityOf(pid)).not.toBe(identity);
    expect(readEndpoints(runFiles(system.home.run).endpoints)).toBeNull();
    expect((await script(system.home.root, 'stop.mjs')).output).toContain('Nothing ran');
    expect((await script(system.home.root, 'status.mjs')).code).toBe(1);
  }, 60_000);
});

describe('a start in the foreground', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)(
    'leaves nothing running when it is ended by %s',
    async (signal) => {
      const home = createTestHome();
      const files = runFiles(home.run);
      const start = spawn(process.execPath, [join('scripts', 'start.mjs')], {
        cwd: ROOT,
        env: { ...process.env, COLLOQUY_HOME: home.root, PORT: '0' },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      start.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
      try {
        await waitFor('it is ready', () => output.includes('Ctrl-C stops it.'), 60_000);
        const processes = readProcesses(files.processes);
        expect(output).toContain(readEndpoints(files.endpoints)?.gateway);
        expect(processes.length).toBeGreaterThan(7);
        start.kill(signal);
        await waitFor(
          'everything is gone',
          () => processes.every(({ pid, identity }) => identityOf(pid) !== identity),
          30_000,
        );
        expect(readProcesses(files.processes)).toEqual([]);
      } finally {
        await script(home.root, 'stop.mjs');
        removeTestHome(home);
      }
    },
    120_000,
  );
});
