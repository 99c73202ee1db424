// Waiting for what another server does by itself.
import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 20;

/** @throws Error when it does not come true in time */
export async function waitUntil(timeoutMs: number, isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline)
      throw new Error(`A shard and its directory were not in step within ${timeoutMs} ms.`);
    await pause(POLL_MS);
  }
}
