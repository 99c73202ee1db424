// npm run bench:store -- NAME [options]: one bench of the session store, on services of its own.
//   million  a year of conversations: pages, appends, bytes a turn, months that a statement asks
// Each prints JSON lines, then writes them and a Markdown table to --out (default COLLOQUY_HOME/bench).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Report } from '../engine/report.ts';
import { runMillion } from './million.ts';
import { startStage } from './stage.ts';
import type { Stage } from './stage.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string' },
    conversations: { type: 'string', default: '20000' },
    turns: { type: 'string', default: '1000000' },
    months: { type: 'string', default: '12' },
    seed: { type: 'string', default: '7' },
    pages: { type: 'string', default: '5000' },
    appends: { type: 'string', default: '3000' },
    clients: { type: 'string', default: '2' },
  },
});

const BENCHES: Readonly<Record<string, (stage: Stage, report: Report) => Promise<void>>> = {
  million: ({ db }, report) =>
    runMillion(db, report, {
      conversations: Number(values.conversations),
      turns: Number(values.turns),
      months: Number(values.months),
      seed: Number(values.seed),
      pages: Number(values.pages),
      appends: Number(values.appends),
      clients: Number(values.clients),
    }),
};

async function main(): Promise<void> {
  const name = positionals[0] ?? '';
  const run = BENCHES[name];
  if (run === undefined) throw new Error(`name a bench: ${Object.keys(BENCHES).join(', ')}`);
  const out = values.out ?? join(process.env['COLLOQUY_HOME'] ?? '.colloquy', 'bench');
  mkdirSync(out, { recursive: true });
  const stage = await startStage(10);
  try {
    await run(stage, new Report(out, `store-${name}`));
  } finally {
    await stage.close();
  }
}

// A time-out's signal ends it like an error does: with its children.
process.once('SIGTERM', () => process.exit(1));
void main();
