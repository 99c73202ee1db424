// A short storm over everything that serves turns. docs/chaos.md: what is checked, how to repeat a failure, the long form.
import { join } from 'node:path';
import { commandOf, runChaos } from '../../helpers/chaos-run.ts';
import { sharedHome } from '../../helpers/test-home.ts';

const SEED = Number(process.env['COLLOQUY_CHAOS_SEED'] ?? 1);
const DURATION_MS = 60_000;

it('a storm of kills, freezes, restarts and bad networks leaves every list, stream and bill as promised', async () => {
  const folder = join(sharedHome().root, 'chaos', `short-seed-${SEED}`);
  const options = { deployment: 'embedded', seed: SEED, durationMs: DURATION_MS, folder } as const;
  const { verdict, summary } = await runChaos(options);
  // What was judged has to have happened.
  expect(summary.turns).toBeGreaterThan(10);
  expect(Object.values(summary.faults).reduce((sum, each) => sum + each, 0)).toBeGreaterThan(5);
  expect({ anomalies: verdict.anomalies, again: commandOf(options) }).toEqual({
    anomalies: [],
    again: commandOf(options),
  });
}, 400_000);
