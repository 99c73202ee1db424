// The layout of COLLOQUY_HOME and how files in it are written: private to the user, and never half of one.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export interface HomeFolder {
  readonly root: string;
  /** Unpacked wheels, one folder a name and version. */
  readonly runtime: string;
  readonly models: string;
  readonly postgres: string;
  readonly valkey: string;
  readonly temporal: string;
  readonly secrets: string;
  readonly logs: string;
  /** Pids, ports and endpoints of the running system. */
  readonly run: string;
}

/** Names the folders below `root`; creates nothing. */
export function homeFolder(root: string): HomeFolder {
  const at = (name: string): string => join(resolve(root), name);
  return {
    root: resolve(root),
    runtime: at('runtime'),
    models: at('models'),
    postgres: at('postgres'),
    valkey: at('valkey'),
    temporal: at('temporal'),
    secrets: at('secrets'),
    logs: at('logs'),
    run: at('run'),
  };
}

/** Creates what is missing, readable by this user only: secrets, logs and conversations live here. */
export function createHomeFolder(home: HomeFolder): void {
  for (const folder of Object.values(home)) mkdirSync(folder, { recursive: true, mode: 0o700 });
}

/** Replaces a file in one step, so that a reader or a crash never sees half of it. Mode 0600. */
export function writeFileAtomically(path: string, text: string): void {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** The parsed file, or null when it is absent or not JSON (a file of an earlier crash must not stop a start). */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}
