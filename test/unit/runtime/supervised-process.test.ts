import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { answersOk } from '../../../runtime/probes.ts';
import { isPortFree, PortBook } from '../../../runtime/ports.ts';
import { identityOf } from '../../../runtime/process-identity.ts';
import { backOffMs, SupervisedProcess } from '../../../runtime/supervised-process.ts';
import { waitFor } from '../../helpers/wait-for.ts';
import type { ChildSpec } from '../../../runtime/child-spec.ts';
import type { ProcessState } from '../../../runtime/supervised-process.ts';

const FIXTURE = resolve(__dirname, '..', '..', 'fixtures', 'runtime', 'http-process.cjs');

describe('SupervisedProcess', () => {
  let folder: string;
  let port: number;
  let supervised: SupervisedProcess | null = null;
  const states: ProcessState[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'supervised-'));
    port = await new PortBook(join(folder, 'ports.json')).portFor('fixture');
    states.length = 0;
  });

  afterEach(async () => {
    supervised?.kill();
    await supervised?.stop();
    rmSync(folder, { recursive: true });
  });

  function start(flags: readonly string[], change: Partial<ChildSpec> = {}): SupervisedProcess {
    const spec: ChildSpec = {
      name: 'fixture',
      kind: 'gateway',
      command: process.execPath,
      args: [FIXTURE, ...flags],
      env: { PORT: String(port) },
      workingFolder: folder,
      log: join(folder, 'fixture.log'),
      isReady: () => answersOk(`http://127.0.0.1:${port}/readyz`),
      stopSignal: 'SIGTERM',
      stopMs: 5000,
      ...change,
    };
    supervised = new SupervisedProcess(spec, (changed) => states.push(changed.state));
    supervised.start();
    return supervised;
  }

  it('is ready once its probe says so, and stops when it is asked to', async () => {
    const running = start([]);
    await running.whenReady(10_000);
    const pid = running.identity?.pid ?? 0;
    expect(identityOf(pid)).toBe(running.identity?.identity);
    await running.stop();
    expect(identityOf(pid)).toBeNull();
    expect(await isPortFree(port)).toBe(true);
    expect(states).toEqual(['starting', 'ready', 'stopping', 'stopped']);
  });

  it('starts a killed process again under another pid', async () => {
    const running = start([]);
    await running.whenReady(10_000);
    const first = running.identity?.pid ?? 0;
    process.kill(first, 'SIGKILL');
    await waitFor(
      'the process is back',
      () => running.state === 'ready' && running.identity?.pid !== first,
    );
    expect(running.numDeaths).toBe(1);
    expect(states).toEqual(['starting', 'ready', 'backing-off', 'starting', 'ready']);
  });

  it('leaves a dead process down when its owner says so, until the owner starts it', async () => {
    const asked: number[] = [];
    const running = start([], { onDeath: () => asked.push(1) > 1 });
    await running.whenReady(10_000);
    running.kill();
    await waitFor('it is dead', () => running.state === 'backing-off');
    await new Promise((resolve) => setTimeout(resolve, 3 * backOffMs(1)));
    expect([running.state, running.identity, asked]).toEqual(['backing-off', null, [1]]);
    running.start();
    await running.whenReady(10_000);
    running.kill();
    await waitFor('it comes back by itself', () => running.state === 'ready' && asked.length === 2);
  });

  it('gives up a start that ends again and again, with the end of its log', async () => {
    const running = start(['--die']);
    await expect(running.whenReady(20_000)).rejects.toThrow(
      /fixture ends as soon as it starts[\s\S]*the fixture dies as it was told/,
    );
    expect(running.numDeaths).toBeGreaterThanOrEqual(4);
  });

  it('gives up a start that is never ready', async () => {
    const running = start(['--never-ready']);
    await expect(running.whenReady(300)).rejects.toThrow('fixture was not ready within 0 s');
  });

  it('counts a command that does not exist as a death', async () => {
    const running = start([], { command: join(folder, 'absent') });
    await expect(running.whenReady(20_000)).rejects.toThrow('ends as soon as it starts');
  });

  it('tries again when it cannot even be spawned', async () => {
    let numTries = 0;
    const beforeSpawn = (): void => {
      numTries += 1;
      if (numTries === 1) throw new Error('no room');
    };
    const running = start([], { beforeSpawn });
    expect(running.state).toBe('backing-off');
    await running.whenReady(10_000);
    expect(running.numDeaths).toBe(1);
  });

  it('says why it could not be spawned', async () => {
    const running = start([], { log: join(folder, 'absent', 'fixture.log') });
    await expect(running.whenReady(20_000)).rejects.toThrow(
      /fixture ends as soon as it starts[\s\S]*ENOENT/,
    );
  });

  it('kills a process that ignores its stop signal when its time is over', async () => {
    const running = start(['--stubborn'], { stopMs: 200 });
    await running.whenReady(10_000);
    const pid = running.identity?.pid ?? 0;
    await running.stop();
    expect(identityOf(pid)).toBeNull();
  });

  it('stops a suspended process without waiting for its time to be over', async () => {
    const running = start([], { stopMs: 60_000 });
    await running.whenReady(10_000);
    const pid = running.identity?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    await running.stop();
    expect(identityOf(pid)).toBeNull();
  });

  it('does not start again what dies while it is being stopped', async () => {
    const running = start([], { stopMs: 60_000 });
    await running.whenReady(10_000);
    const stopping = running.stop();
    running.kill();
    await stopping;
    expect(running.state).toBe('stopped');
    expect(running.numDeaths).toBe(0);
  });

  it('ends a wait for its next start when it is stopped', async () => {
    const running = start(['--die']);
    await waitFor('it died', () => running.state === 'backing-off');
    await running.stop();
    expect(states.at(-1)).toBe('stopped');
  });

  it('passes on exactly the environment of its spec', async () => {
    const running = start([], { env: { PORT: String(port), COLLOQUY_HOME: '/home' } });
    await running.whenReady(10_000);
    const env = (await (await fetch(`http://127.0.0.1:${port}/env`)).json()) as object;
    expect(env).toMatchObject({ COLLOQUY_HOME: '/home', PORT: String(port) });
    expect(env).not.toHaveProperty('PATH');
  });

  it('appends both outputs to its log', async () => {
    await start(['--die'], {})
      .whenReady(20_000)
      .catch(() => undefined);
    const lines = readFileSync(join(folder, 'fixture.log'), 'utf8').trim().split('\n');
    expect(lines.length).toBeGreaterThanOrEqual(4);
  });
});

describe('backOffMs', () => {
  it('doubles from 100 ms with each death in a row, up to 10 s', () => {
    expect([1, 2, 3, 7, 8, 20].map(backOffMs)).toEqual([100, 200, 400, 6400, 10_000, 10_000]);
  });
});
