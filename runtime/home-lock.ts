// One start per COLLOQUY_HOME: a file that names its owner by pid and identity, so that a crashed owner's lock is free.
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { readJson } from './home-folder.ts';
import { isRunning, ownIdentity } from './process-identity.ts';
import type { ProcessIdentity } from './process-identity.ts';

const lockSchema = z.object({ pid: z.int(), identity: z.string() });

/** Thrown when another live process holds the lock. */
export class HomeLockedError extends Error {
  override readonly name = 'HomeLockedError';
  readonly owner: ProcessIdentity;

  constructor(owner: ProcessIdentity) {
    super(
      `Colloquy already runs in this home (process ${owner.pid}). "npm run status" shows it, "npm stop" stops it.`,
    );
    this.owner = owner;
  }
}

/** The live owner of the lock, or null. */
export function lockOwner(path: string): ProcessIdentity | null {
  const owner = lockSchema.safeParse(readJson(path));
  return owner.success && isRunning(owner.data) ? owner.data : null;
}

/**
 * Takes the lock for this process.
 * @returns the release, to be called once at the end
 * @throws HomeLockedError when a live process holds it
 */
export function acquireLock(path: string): () => void {
  const own = ownIdentity();
  const draft = `${path}.${own.pid}.tmp`;
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    while (!tryLink(draft, path)) {
      const owner = lockOwner(path);
      if (owner !== null) throw new HomeLockedError(owner);
      removeStale(path, draft);
    }
  } finally {
    rmSync(draft, { force: true });
  }
  return () => {
    if (lockOwner(path)?.pid === own.pid) rmSync(path, { force: true });
  };
}

/** A link appears with its content at once, unlike a created file, which others could read while it is empty. */
function tryLink(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function removeStale(path: string, draft: string): void {
  const aside = `${draft}.stale`;
  try {
    renameSync(path, aside);
  } catch {
    return; // another starter removed it first
  }
  // NOTE: between our look and the rename another starter may have replaced the stale lock by its own: give that back.
  if (lockOwner(aside) !== null) tryLink(aside, path);
  rmSync(aside, { force: true });
}
