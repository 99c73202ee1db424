// `npm run chaos -- [--minutes 30] [--seed N] [--deployment embedded|temporal|valkey] [--schedule FILE] [--shrink-minutes 15]`:
// the long storm of docs/chaos.md on a system of its own. Report in COLLOQUY_HOME/chaos.
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { ROOT } from './environment.mjs';
import { createProgress } from './progress.mjs';

const DEPLOYMENTS = ['embedded', 'temporal', 'valkey'];

const values = readArguments();
const progress = createProgress(process.stdout);
await build(progress);
progress.close();
const env = {
  ...process.env,
  COLLOQUY_CHAOS_MINUTES: values.minutes,
  COLLOQUY_CHAOS_SEED: values.seed,
  COLLOQUY_CHAOS_DEPLOYMENT: values.deployment,
  COLLOQUY_CHAOS_SHRINK_MINUTES: values['shrink-minutes'],
};
const schedule = values.schedule ?? process.env.COLLOQUY_CHAOS_SCHEDULE;
if (schedule !== undefined) env.COLLOQUY_CHAOS_SCHEDULE = resolve(schedule);
process.stdout.write(
  `${values.minutes} minutes, ${values.deployment}, seed ${values.seed}${schedule === undefined ? '' : `, ${schedule}`}\n`,
);
const jest = spawn(
  process.execPath,
  [
    join('node_modules', 'jest', 'bin', 'jest.js'),
    ...['--selectProjects', 'deploy', '--runInBand', '--verbose'],
    ...['--testPathPatterns', 'test/deploy/chaos.test.ts'],
  ],
  { cwd: ROOT, stdio: 'inherit', env },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => jest.kill(signal));
jest.once('exit', (code) => process.exit(code ?? 1));

function readArguments() {
  try {
    const { values: given } = parseArgs({
      options: {
        minutes: { type: 'string', default: '30' },
        seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 1_000_000)) },
        deployment: { type: 'string', default: 'embedded' },
        schedule: { type: 'string' },
        'shrink-minutes': { type: 'string', default: '15' },
      },
    });
    if (!DEPLOYMENTS.includes(given.deployment))
      throw new Error(`--deployment is one of ${DEPLOYMENTS.join(', ')}.`);
    for (const name of ['minutes', 'seed', 'shrink-minutes'])
      if (!(Number(given[name]) >= 0)) throw new Error(`--${name} must be a number.`);
    return given;
  } catch (error) {
    process.stderr.write(
      `${error.message}\nnpm run chaos -- [--minutes 30] [--seed N] [--deployment embedded|temporal|valkey] [--schedule FILE] [--shrink-minutes 15]\n`,
    );
    process.exit(2);
  }
}
