// The set-up of docs/deploy/temporal.md: two full Temporal servers on one PostgreSQL behind HAProxy, one of them killed in
// mid-turn; with COLLOQUY_TEMPORAL_FAULTS=1 one persistence call in twenty fails as well.
import { isTemporalReady } from '../../runtime/temporal-namespace.ts';
import { startDeployment } from '../helpers/deployment.ts';
import { waitFor } from '../helpers/wait-for.ts';
import { KillTrials } from './kill-trials.ts';
import type { RunningDeployment } from '../helpers/deployment.ts';
import type { Victim } from './kill-trials.ts';

const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 10);
const SETS: readonly [string, readonly string[]][] = [
  ['two Temporal servers on one PostgreSQL', []],
  ['two Temporal servers whose persistence fails one call in twenty', ['--faults']],
];

describe.each(SETS)('%s', (title, flags) => {
  let servers: RunningDeployment;
  let trials: KillTrials;

  beforeAll(async () => {
    servers = await startDeployment('temporal', ...flags);
    trials = await KillTrials.start(servers.env);
  }, 900_000);
  afterAll(async () => {
    trials.report(`${title}, one killed`);
    await trials.system.stop();
    await servers.stop();
  }, 120_000);

  /** The two in turn, so that whichever serves this turn's shard is killed in about half of the trials. */
  const oneOfTwo = (trial: number): Victim => {
    const name = `temporal-${1 + (trial % 2)}`;
    return {
      kill: async () => {
        const victim = servers.processes().find((each) => each.name === name);
        process.kill(victim?.pid ?? 0, 'SIGKILL');
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
});
