import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acquireLock, lockOwner } from '../../../runtime/home-lock.ts';
import {
  identityOf,
  isRunning,
  ownIdentity,
  signalProcess,
} from '../../../runtime/process-identity.ts';
import { endOrphans } from '../../../runtime/orphans.ts';
import { waitFor } from '../../helpers/wait-for.ts';
import type { ChildProcess } from 'node:child_process';
import type { ProcessEntry } from '../../../runtime/run-files.ts';

let folder: string;
let lock: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
  lock = join(folder, 'supervisor.lock');
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** A process that lives until it is told otherwise; `script` may make it deaf. */
async function spawnIdle(script = ''): Promise<number> {
  const child = spawn(
    process.execPath,
    ['-e', `${script}; setInterval(() => {}, 1000); console.log('up')`],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  children.push(child);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  return child.pid ?? 0;
}

function entry(pid: number, identity = identityOf(pid) ?? ''): ProcessEntry {
  return { name: 'fixture', kind: 'gateway', pid, identity, log: '/dev/null' };
}

describe('acquireLock', () => {
  it('refuses a second owner and names the first', () => {
    const release = acquireLock(lock);
    expect(() => acquireLock(lock)).toThrow(`(process ${process.pid})`);
    expect(lockOwner(lock)).toEqual(ownIdentity());
    release();
    expect(existsSync(lock)).toBe(false);
  });

  it('takes over the lock of a process that is gone', () => {
    writeFileSync(lock, JSON.stringify({ pid: 4_194_305, identity: 'boot:1' }));
    acquireLock(lock)();
    expect(existsSync(lock)).toBe(false);
  });

  it('takes over the lock of a pid that another process has now', () => {
    writeFileSync(lock, JSON.stringify({ pid: process.pid, identity: 'boot:1' }));
    const release = acquireLock(lock);
    expect(JSON.parse(readFileSync(lock, 'utf8'))).toEqual(ownIdentity());
    release();
  });

  it('takes over a lock file that is not readable as one', () => {
    writeFileSync(lock, '{');
    acquireLock(lock)();
    expect(existsSync(lock)).toBe(false);
  });
});

describe('process identity', () => {
  it('tells a live process from one that only had its pid', () => {
    expect(isRunning(ownIdentity())).toBe(true);
    expect(isRunning({ pid: process.pid, identity: 'boot:1' })).toBe(false);
  });

  it('does not signal a process that is not the recorded one', async () => {
    const pid = await spawnIdle();
    expect(signalProcess({ pid, identity: 'boot:1' }, 'SIGKILL')).toBe(false);
    expect(identityOf(pid)).not.toBeNull();
  });

  it('is the same whenever it is asked', async () => {
    const pid = await spawnIdle();
    expect(identityOf(pid)).toBe(identityOf(pid));
  });
});

describe('endOrphans', () => {
  it('ends recorded processes, also a deaf and a suspended one', async () => {
    const pids = [
      await spawnIdle(),
      await spawnIdle(`process.on('SIGTERM', () => {})`),
      await spawnIdle(),
    ];
    process.kill(pids[2] ?? 0, 'SIGSTOP');
    await expect(endOrphans(pids.map((pid) => entry(pid)))).resolves.toHaveLength(3);
    for (const pid of pids) expect(identityOf(pid)).toBeNull();
  });

  it('leaves a process alone that got a recorded pid later, and itself', async () => {
    const pid = await spawnIdle();
    await expect(endOrphans([entry(pid, 'boot:1'), entry(process.pid)])).resolves.toEqual([]);
    await waitFor('the process still runs', () => identityOf(pid));
  });
});
