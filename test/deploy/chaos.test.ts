// The long storm, run by `npm run chaos` (scripts/chaos.mjs), which says how long, by which seed and on what.
import { join } from 'node:path';
import { readSchedule } from '../../bench/chaos/schedule.ts';
import { DEPLOYMENTS } from '../helpers/chaos-system.ts';
import { commandOf, runChaos } from '../helpers/chaos-run.ts';
import { shorten } from '../helpers/chaos-shorten.ts';
import type { Shortened } from '../helpers/chaos-shorten.ts';
import { sharedHome } from '../helpers/test-home.ts';

const variable = (name: string): string | undefined => process.env[`COLLOQUY_CHAOS_${name}`];
const SEED = Number(variable('SEED') ?? 1);
const DURATION_MS = Number(variable('MINUTES') ?? 30) * 60_000;
const SHRINK_MS = Number(variable('SHRINK_MINUTES') ?? 15) * 60_000;
const DEPLOYMENT = DEPLOYMENTS.find((each) => each === variable('DEPLOYMENT')) ?? 'embedded';
const SCHEDULE = variable('SCHEDULE');

function wordsFor(short: Shortened | null): string {
  if (short === null) return 'The minute before the first anomaly did not fail again.';
  const { steps, isMinimal, command } = short;
  return `${steps.length} steps fail${isMinimal ? ', none can be left out' : ''}: ${JSON.stringify(steps)}\n${command}`;
}

it(
  `a long storm over ${DEPLOYMENT} services leaves every list, stream and bill as promised`,
  async () => {
    const stamp = new Date()
      .toISOString()
      .replace(/\.\d+Z$/, '')
      .replaceAll(':', '');
    const folder = join(sharedHome().root, 'chaos', `${stamp}-${DEPLOYMENT}-seed-${SEED}`);
    const options = {
      ...{ deployment: DEPLOYMENT, seed: SEED, durationMs: DURATION_MS, folder },
      ...(SCHEDULE === undefined ? {} : { schedule: readSchedule(SCHEDULE) }),
    };
    const result = await runChaos(options);
    const { anomalies, allowed } = result.verdict;
    const say = (text: string): void => void process.stdout.write(`${text}\n`);
    say(JSON.stringify(result.summary, null, 1));
    say(`${anomalies.length} anomalies, ${allowed.length} allowed; ${join(folder, 'report.html')}`);
    if (anomalies.length > 0) {
      say(`Again: ${commandOf(options, SCHEDULE ?? join(folder, 'schedule.json'))}`);
      if (SHRINK_MS > 0) say(wordsFor(await shorten(options, result, Date.now() + SHRINK_MS)));
    }
    expect(anomalies).toEqual([]);
  },
  DURATION_MS + SHRINK_MS + 1_200_000,
);
