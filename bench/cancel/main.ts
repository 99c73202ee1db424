// npm run bench:cancel -- engine|system [--trials 50]: how soon a stopped turn's blocks are free, in each state. `engine` needs
// nothing that runs; `system` a running one, best with two gateways.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseOptions } from '../engine/options.ts';
import { summary } from '../statistics.ts';
import { abortsIn, ENGINE_STATES } from './engine-states.ts';
import { cancelsIn, SYSTEM_STATES } from './system-states.ts';

async function engineRows(numTrials: number): Promise<object[]> {
  const rows: object[] = [];
  for (const state of ENGINE_STATES) {
    const samples = await abortsIn(state, parseOptions([]), numTrials);
    const excess = samples.map(({ ms, stepMs }) => ms - 2 * stepMs);
    rows.push({
      state,
      numTrials,
      ms: summary(samples.map(({ ms }) => ms)),
      steps: summary(samples.map(({ numSteps }) => numSteps)),
      stepMs: summary(samples.map(({ stepMs }) => stepMs)),
      numWithinBar: excess.filter((ms) => ms <= 20).length,
    });
    process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`);
  }
  return rows;
}

async function systemRows(numTrials: number): Promise<object[]> {
  const rows: object[] = [];
  for (const state of SYSTEM_STATES)
    for (const at of ['its own gateway', 'another gateway'] as const) {
      const samples = await cancelsIn(state, at === 'another gateway', numTrials);
      rows.push({
        ...{ state, at, numTrials },
        answerMs: summary(samples.map(({ answerMs }) => answerMs)),
        freeMs: summary(samples.map(({ freeMs }) => freeMs)),
        doneMs: summary(samples.map(({ doneMs }) => doneMs)),
      });
      process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`);
    }
  return rows;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { trials: { type: 'string', default: '50' } },
  });
  const [name] = positionals;
  if (name !== 'engine' && name !== 'system') throw new Error('name one: engine, system');
  const numTrials = Number(values.trials);
  const rows = await (name === 'engine' ? engineRows(numTrials) : systemRows(numTrials));
  const lines = rows.map((row) => JSON.stringify(row)).join('\n');
  writeFileSync(join(parseOptions([]).out, `cancel-${name}.jsonl`), `${lines}\n`);
}

void main();
