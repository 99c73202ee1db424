// Removes what Redis holds of somebody, and has it forgotten on disk too: an append-only file keeps deleted text until it is
// rewritten (decision 0015).
import { userKeys } from '../contracts/redis-keys.ts';
import { AppError } from '../contracts/errors.ts';
import type { UserId } from '../contracts/ids.ts';
import { isCluster } from './connection.ts';
import type { Redis } from './connection.ts';

const POLL_MS = 100;

/** @returns keys that were there. @throws AppError STREAM_UNAVAILABLE */
export async function forgetUser(redis: Redis, id: UserId): Promise<number> {
  return removeEach(redis, userKeys(id));
}

/** How many of a user's keys are there. @throws AppError STREAM_UNAVAILABLE */
export async function userKeysLeft(redis: Redis, id: UserId): Promise<number> {
  return sum(userKeys(id).map((key) => redis.exists(key)));
}

/**
 * Rewrites the append-only file of every node that has one, and waits for the end.
 * @param onWait called while it waits
 * @returns nodes whose file was rewritten; 0 without a file, or where an operator's Redis does not say
 */
export async function rewriteFiles(redis: Redis, onWait: () => void): Promise<number> {
  const nodes = isCluster(redis) ? redis.nodes('all') : [redis];
  let rewritten = 0;
  for (const node of nodes) {
    const info = await node.info('persistence');
    if (!/^aof_enabled:1\r?$/m.test(info)) continue;
    // One under way began before the deletions, so another one follows it.
    await until(async () => isQuiet(await node.info('persistence')), onWait);
    await node.bgrewriteaof();
    await until(async () => isQuiet(await node.info('persistence')), onWait);
    rewritten += 1;
  }
  return rewritten;
}

function isQuiet(info: string): boolean {
  return /^aof_rewrite_in_progress:0\r?$/m.test(info) && /^aof_rewrite_scheduled:0\r?$/m.test(info);
}

async function until(isTrue: () => Promise<boolean>, onWait: () => void): Promise<void> {
  while (!(await isTrue())) {
    onWait();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function removeEach(redis: Redis, keys: readonly string[]): Promise<number> {
  // One by one: they need not be in one slot.
  return sum(keys.map((key) => redis.del(key)));
}

async function sum(counts: readonly Promise<number>[]): Promise<number> {
  const all = await Promise.all(counts).catch((error: unknown) => {
    throw new AppError('STREAM_UNAVAILABLE', { cause: error });
  });
  return all.reduce((total, each) => total + each, 0);
}
