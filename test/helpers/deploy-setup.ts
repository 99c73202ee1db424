// Before the first test file of the on-demand suites: what a killed run left behind ends, and this run leaves nothing.
import { killOwnTestHomes, sweepTestHomes } from './test-home.ts';

export default async function deploySetup(): Promise<void> {
  await sweepTestHomes();
  process.once('exit', killOwnTestHomes);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => process.exit(130));
}
