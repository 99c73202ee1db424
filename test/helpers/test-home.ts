// A COLLOQUY_HOME of a test's own: data apart, binaries and weights shared with the checkout's home.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createHomeFolder, homeFolder } from '../../runtime/home-folder.ts';
import { identityOf, signalProcess } from '../../runtime/process-identity.ts';
import { endOrphans } from '../../runtime/orphans.ts';
import { readProcesses, runFiles } from '../../runtime/run-files.ts';
import type { HomeFolder } from '../../runtime/home-folder.ts';

const PREFIX = 'colloquy-test-';

/** The checkout. */
export const ROOT = resolve(__dirname, '..', '..');

/** The home whose wheels and weights all tests share. */
export function sharedHome(): HomeFolder {
  return homeFolder(process.env['COLLOQUY_HOME'] ?? join(ROOT, '.colloquy'));
}

/** A new empty home. Its owner removes it with removeTestHome(). */
export function createTestHome(): HomeFolder {
  const shared = sharedHome();
  const root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  for (const [name, target] of [
    ['runtime', shared.runtime],
    ['models', shared.models],
  ] as const) {
    mkdirSync(target, { recursive: true, mode: 0o700 });
    symlinkSync(target, join(root, name));
  }
  const home = homeFolder(root);
  createHomeFolder(home);
  return home;
}

/** Removes a home of which nothing runs any more; a process that was just killed may still close its files. */
export function removeTestHome(home: HomeFolder): void {
  rmSync(home.root, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

/** At once: kills everything in the homes of this jest run and removes them. For a run that is being ended. */
export function killOwnTestHomes(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(`${PREFIX}${process.pid}-`)) continue;
    const home = homeFolder(join(tmpdir(), name));
    for (const entry of readProcesses(runFiles(home.run).processes)) {
      if (entry.pid !== process.pid) signalProcess(entry, 'SIGKILL');
    }
    removeTestHome(home);
  }
}

/** Ends and removes what killed test runs left behind; homes of live runs stay. */
export async function sweepTestHomes(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const owner = /^colloquy-test-(\d+)-/.exec(name)?.[1];
    if (owner === undefined || identityOf(Number(owner)) !== null) continue;
    const home = homeFolder(join(tmpdir(), name));
    if (existsSync(home.run)) await endOrphans(readProcesses(runFiles(home.run).processes));
    removeTestHome(home);
  }
}
