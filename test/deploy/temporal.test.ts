// The set-up of docs/deploy/temporal.md: two full Temporal servers on one PostgreSQL behind HAProxy, one of them killed in
// mid-turn; then once more with one persistence call in twenty failing as well.
import { isTemporalReady } from '../../runtime/temporal-namespace.ts';
import { startDeployment } from '../helpers/deployment.ts';
import { waitFor } from '../helpers/wait-for.ts';
import { KillTrials } from './kill-trials.ts';
import type { ProcessEntry } from '../../runtime/run-files.ts';
import type { RunningDeployment } from '../helpers/deployment.ts';
import type { Victim } from './kill-trials.ts';

const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 10);
const SETS: readonly [string, readonly string[]][] = [
  ['two Temporal servers on one PostgreSQL', []],
  ['two Temporal servers whose persistence fails one call in twenty', ['--faults']],
];

/** Errors of the kinds that are injected, as the server has counted them since its start; 0 when it does not answer. */
async function persistenceFaults(server: ProcessEntry): Promise<number> {
  try {
    const text = await (await fetch(server.metrics_url ?? '')).text();
    const counts = text.matchAll(
      /^persistence_error_with_type\{error_type="(?:persistence_TimeoutError|serviceerror_Unavailable)".*\} (\d+)$/gm,
    );
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  } catch {
    return 0;
  }
}

describe.each(SETS)('%s', (title, flags) => {
  let servers: RunningDeployment;
  let trials: KillTrials;
  let numFaults = 0;
  const both = (): ProcessEntry[] =>
    servers.processes().filter(({ name }) => /^temporal-\d$/.test(name));

  beforeAll(async () => {
    servers = await startDeployment('temporal', ...flags);
    trials = await KillTrials.start(servers.env);
  }, 900_000);
  afterAll(async () => {
    trials.report(`${title}, one killed; persistence errors: ${numFaults}`);
    await trials.system.stop();
    await servers.stop();
  }, 120_000);

  /** The two in turn, so that whichever serves this turn's shard is killed in about half of the trials. */
  const oneOfTwo = (trial: number): Victim => {
    const name = `temporal-${1 + (trial % 2)}`;
    return {
      kill: async () => {
        const victim = both().find((each) => each.name === name);
        if (victim === undefined) throw new Error(`${name} does not run.`);
        numFaults += await persistenceFaults(victim); // its count dies with it
        process.kill(victim.pid, 'SIGKILL');
      },
      recover: async () => {
        await waitFor(
          'both servers answer again',
          async () => {
            const ports = ['temporal-1-7233', 'temporal-2-7233'].map((each) => servers.port(each));
            const ready = ports.map((port) => isTemporalReady(`127.0.0.1:${port}`, 'default'));
            return (await Promise.all(ready)).every(Boolean);
          },
          60_000,
        );
      },
    };
  };

  it.each(Array.from({ length: TRIALS }, (_, trial) => trial))(
    'keeps the reader’s text and stores the turn once when one server is killed, trial %#',
    async (trial) => trials.run(trial, oneOfTwo(trial)),
    180_000,
  );

  it('has billed every turn once', () => trials.expectBilledOnce());

  it('had persistence calls fail, where that was asked for', async () => {
    for (const server of both()) numFaults += await persistenceFaults(server);
    if (flags.includes('--faults')) expect(numFaults).toBeGreaterThan(TRIALS);
  });
});
