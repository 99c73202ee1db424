// Before the first test file of a project with services.
import { publishServices } from './services.ts';
import { killOwnTestHomes } from './test-home.ts';
import { startTestServices } from './test-services.ts';
import type { RunningTestServices } from './test-services.ts';

declare global {
  /** Handed from set-up to teardown, which jest runs in the same process. */
  var colloquyTestServices: RunningTestServices[] | undefined;
}

export default async function globalSetup(): Promise<void> {
  const running = await startTestServices();
  (globalThis.colloquyTestServices ??= []).push(running);
  publishServices(running.services);
  // Ctrl-C must leave nothing running: jest ends without its teardown then.
  process.once('exit', killOwnTestHomes);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => process.exit(130));
}
