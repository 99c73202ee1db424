import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { Redis } from 'ioredis';
import { runFiles } from '../../../runtime/run-files.ts';
import { SILENT } from '../../../runtime/progress.ts';
import { identityOf } from '../../../runtime/process-identity.ts';
import { postgresFault, redisFault } from '../../../runtime/probes.ts';
import { readSettings } from '../../../runtime/settings.ts';
import { systemStatus } from '../../../runtime/status.ts';
import { Supervisor } from '../../../runtime/supervisor.ts';
import { isTemporalReady } from '../../../runtime/temporal-namespace.ts';
import { createTestHome, removeTestHome, ROOT } from '../../helpers/test-home.ts';
import { services } from '../../helpers/services.ts';
import { waitFor } from '../../helpers/wait-for.ts';
import type { HomeFolder } from '../../../runtime/home-folder.ts';
import type { Endpoints, ProcessEntry } from '../../../runtime/run-files.ts';
import type { PlannedProcess } from '../../../runtime/topology.ts';

const entry = join('test', 'fixtures', 'runtime', 'http-process.cjs');
const PLAN: readonly PlannedProcess[] = [
  { name: 'inference-mini-1', kind: 'inference-worker', pool: 'mini', entry, args: [] },
  { name: 'gateway-1', kind: 'gateway', entry, args: [] },
  { name: 'gateway-2', kind: 'gateway', entry, args: [] },
];

/** Names of processes in the order in which they stopped. */
const stopped: string[] = [];

function supervisorOf(home: HomeFolder, env: Record<string, string> = {}, plan = PLAN): Supervisor {
  return new Supervisor({
    settings: readSettings([], { COLLOQUY_HOME: home.root, PORT: '0', ...env }),
    env: { PATH: process.env['PATH'], ...env },
    workingFolder: ROOT,
    progress: SILENT,
    prepareDatabase: () => Promise.resolve({ free: 'f', paid: 'p', enterprise: 'e', admin: 'a' }),
    plan,
    onChange: ({ state, spec }) => {
      if (state === 'stopped') stopped.push(spec.name);
    },
  });
}

function processesOf(home: HomeFolder): ProcessEntry[] {
  return JSON.parse(readFileSync(runFiles(home.run).processes, 'utf8')) as ProcessEntry[];
}

function processNamed(home: HomeFolder, name: string): ProcessEntry | undefined {
  return processesOf(home).find((each) => each.name === name);
}

describe('Supervisor', () => {
  let home: HomeFolder;
  let supervisor: Supervisor;
  let endpoints: Endpoints;

  beforeAll(async () => {
    home = createTestHome();
    supervisor = supervisorOf(home);
    endpoints = await supervisor.start('http://127.0.0.1:1/metrics');
  }, 60_000);

  afterAll(async () => {
    await supervisor.stop();
    removeTestHome(home);
  }, 60_000);

  it('restarts its own processes one by one: the next only when the one before is ready again', async () => {
    const before = processesOf(home);
    const numStopped = stopped.length;
    await supervisor.restartEach();
    const after = processesOf(home);
    for (const { name, kind, pid } of before)
      expect([name, after.find((each) => each.name === name)?.pid === pid]).toEqual([
        name,
        ['postgres', 'redis', 'temporal', 'supervisor'].includes(kind),
      ]);
    expect(stopped.slice(numStopped)).toEqual(['inference-mini-1', 'gateway-1', 'gateway-2']);
    expect(supervisor.all.every(({ state }) => state === 'ready')).toBe(true);
    stopped.splice(numStopped);
  });

  it('writes where everything is reached, readable by this user only', () => {
    const path = runFiles(home.run).endpoints;
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(endpoints);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(endpoints.gateways).toHaveLength(2);
    expect(endpoints.gateway).toBe(endpoints.gateways[0]);
    expect(endpoints.tokens.free).toMatch(/^cq_[\w-]{32}$/);
    expect(endpoints.users).toEqual({ free: 'f', paid: 'p', enterprise: 'e', admin: 'a' });
  });

  it('lists every process with its kind, pool, log and metrics', () => {
    const list = processesOf(home);
    expect(list.map(({ name }) => name).sort()).toEqual([
      'gateway-1',
      'gateway-2',
      'inference-mini-1',
      'postgres',
      'redis',
      'supervisor',
      'temporal',
    ]);
    for (const { pid, log } of list) {
      expect(identityOf(pid)).not.toBeNull();
      expect(log.startsWith(home.logs)).toBe(true);
    }
    expect(list.find(({ kind }) => kind === 'supervisor')).toMatchObject({ pid: process.pid });
    expect(list.find(({ pool }) => pool === 'mini')).toMatchObject({
      kind: 'inference-worker',
      metrics_url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/),
    });
  });

  it('gives every process the home and the services’ URLs', async () => {
    const env = (await (await fetch(`${endpoints.gateway}/env`)).json()) as Record<string, string>;
    expect(env).toMatchObject({
      COLLOQUY_HOME: home.root,
      DATABASE_URL: expect.stringMatching(/^postgres:\/\/colloquy_app:/),
      DATABASE_OWNER_URL: '',
      REDIS_URL: endpoints.redis,
      TEMPORAL_ADDRESS: endpoints.temporal,
      COLLOQUY_PROCESS_NAME: 'gateway-1',
      PORT: new URL(endpoints.gateway).port,
    });
    expect(JSON.stringify(env)).not.toContain(new URL(endpoints.postgres).password);
    for (const { pid } of processesOf(home).filter(({ kind }) => kind !== 'supervisor')) {
      expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).toContain(`COLLOQUY_HOME=${home.root}`);
    }
  });

  it('keeps passwords off every command line', () => {
    const secrets = [new URL(endpoints.postgres).password, new URL(endpoints.redis).password];
    for (const { pid } of processesOf(home)) {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      for (const secret of secrets) expect(command).not.toContain(secret);
    }
  });

  it('refuses a second start in the same home', async () => {
    const second = supervisorOf(home);
    await expect(second.start(undefined)).rejects.toThrow(/already runs in this home/);
    await second.stop();
    expect(processesOf(home).length).toBe(PLAN.length + 4);
  });

  it('restarts a killed gateway at its URL', async () => {
    const before = processNamed(home, 'gateway-2');
    process.kill(before?.pid ?? 0, 'SIGKILL');
    const after = await waitFor('another gateway runs', () => {
      const now = processNamed(home, 'gateway-2');
      return now !== undefined && now.pid !== before?.pid ? now : null;
    });
    expect(after.metrics_url).toBe(before?.metrics_url);
    await waitFor('it answers', () =>
      fetch(`${endpoints.gateways[1]}/readyz`).then(
        (reply) => reply.ok,
        () => false,
      ),
    );
  });

  it.each([
    ['postgres', () => postgresFault(endpoints.postgres).then((fault) => fault === null)],
    ['redis', () => redisFault(endpoints.redis).then((fault) => fault === null)],
    ['temporal', () => isTemporalReady(endpoints.temporal, 'default')],
  ])('restarts a killed %s at its URL', async (name, answers) => {
    const before = processNamed(home, name)?.pid ?? 0;
    process.kill(before, 'SIGKILL');
    await waitFor(
      'the service is back',
      async () => identityOf(before) === null && (await answers()),
      25_000,
    );
    expect(processNamed(home, name)?.pid).not.toBe(before);
  });

  it('keeps committed rows when PostgreSQL is killed', async () => {
    const insert = new Client({ connectionString: endpoints.postgres });
    insert.on('error', () => undefined);
    await insert.connect();
    await insert.query('create table if not exists kept(value int)');
    await insert.query('insert into kept values (42)');
    process.kill(processNamed(home, 'postgres')?.pid ?? 0, 'SIGKILL');
    await waitFor(
      'PostgreSQL is back',
      async () => (await postgresFault(endpoints.postgres)) === null,
      25_000,
    );
    const read = new Client({ connectionString: endpoints.postgres });
    await read.connect();
    expect((await read.query('select value from kept')).rows).toEqual([{ value: 42 }]);
    await read.end();
    await insert.end().catch(() => undefined);
  });

  it('starts PostgreSQL although its old pid belongs to another process now', async () => {
    const pidFile = join(home.postgres, 'data', 'postmaster.pid');
    const running = supervisor.all.find(({ spec }) => spec.kind === 'postgres');
    const lines = readFileSync(pidFile, 'utf8').split('\n');
    await running?.stop();
    const another = processNamed(home, 'gateway-1')?.pid;
    writeFileSync(pidFile, [String(another), ...lines.slice(1)].join('\n'));
    running?.start();
    await running?.whenReady(20_000);
  });

  it('reports each process’s state', async () => {
    const status = await waitFor('all are ready', async () => {
      const now = await systemStatus(home.root);
      return now.processes.every(
        ({ entry: each, state }) =>
          each.kind === 'supervisor' || state === 'ready' || state === 'running',
      )
        ? now
        : null;
    });
    expect(status.supervisorPid).toBe(process.pid);
    expect(status.endpoints).toEqual(endpoints);
  });

  it('stops gateways, then workers, then services, and leaves not even a suspended process', async () => {
    stopped.length = 0;
    const pids = processesOf(home)
      .filter(({ kind }) => kind !== 'supervisor')
      .map(({ pid }) => pid);
    process.kill(processNamed(home, 'gateway-1')?.pid ?? 0, 'SIGSTOP');
    await supervisor.stop();
    expect(stopped.slice(0, 2).sort()).toEqual(['gateway-1', 'gateway-2']);
    expect(stopped.slice(2, 4)).toEqual(['inference-mini-1', 'temporal']);
    expect(stopped.slice(4).sort()).toEqual(['postgres', 'redis']);
    for (const pid of pids) expect(identityOf(pid)).toBeNull();
    expect(processesOf(home)).toEqual([]);
    expect(existsSync(runFiles(home.run).endpoints)).toBe(false);
  });

  it('starts again with the same URLs, tokens and rows', async () => {
    const again = supervisorOf(home);
    try {
      expect(await again.start(undefined)).toEqual(endpoints);
      const client = new Client({ connectionString: endpoints.postgres });
      await client.connect();
      expect((await client.query('select value from kept')).rows).toEqual([{ value: 42 }]);
      await client.end();
    } finally {
      await again.stop();
    }
  }, 60_000);
});

describe('Supervisor with a fault', () => {
  it('fails in one line when a replaced service does not answer, and leaves nothing running', async () => {
    const home = createTestHome();
    const supervisor = supervisorOf(home, { REDIS_URL: 'redis://:secret@127.0.0.1:1/0' });
    try {
      await expect(supervisor.start(undefined)).rejects.toThrow(
        'REDIS_URL (redis://127.0.0.1:1/0) does not answer: ECONNREFUSED.',
      );
    } finally {
      await supervisor.stop();
      expect(processesOf(home)).toEqual([]);
      removeTestHome(home);
    }
  }, 60_000);

  it('uses a replaced Redis and starts none of its own', async () => {
    const home = createTestHome();
    const { redisUrl } = services();
    const supervisor = supervisorOf(home, { REDIS_URL: redisUrl });
    try {
      const endpoints = await supervisor.start(undefined);
      expect(endpoints.redis).toBe(redisUrl);
      expect(processesOf(home).map(({ kind }) => kind)).not.toContain('redis');
      const redis = new Redis(endpoints.redis);
      expect(await redis.ping()).toBe('PONG');
      redis.disconnect();
    } finally {
      await supervisor.stop();
      removeTestHome(home);
    }
  }, 60_000);
});
