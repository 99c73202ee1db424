// npm run bench:store -- NAME [options]: one bench of the session store, on services of its own.
//   million  a year of conversations: pages, appends, bytes a turn, months that a statement asks
//   cache    the hot cache: hit rate by Zipf's law against the best possible, latency of a hit and of a miss
//   storm    10,000 conversations against a cache for 1,000, with writers and deletes: wrong reads, loads a conversation
//   flush    the same while Redis is emptied over and over
// Each prints JSON lines, then writes them and a Markdown table to --out (default COLLOQUY_HOME/bench).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Report } from '../engine/report.ts';
import { newOwner } from './owner.ts';
import { runCache } from './cache.ts';
import { runMillion } from './million.ts';
import { runStorm } from './storm-run.ts';
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
    reads: { type: 'string', default: '200000' },
    timed: { type: 'string', default: '3000' },
    storm: { type: 'string', default: '10000' },
    cached: { type: 'string', default: '1000' },
    writes: { type: 'string', default: '2000' },
  },
});

const size = {
  conversations: Number(values.conversations),
  turns: Number(values.turns),
  months: Number(values.months),
  seed: Number(values.seed),
};

async function storm(stage: Stage, report: Report, flushEvery: number): Promise<void> {
  // Four processes.
  const connections = Array.from({ length: 4 }, () => stage.connect());
  await connections[0]?.flushall();
  const result = await runStorm(stage.db, await newOwner(stage.db), {
    conversations: Number(values.storm),
    cached: Number(values.cached),
    readers: 8,
    width: 8,
    writes: Number(values.writes),
    deletes: 100,
    seed: size.seed,
    flushEvery,
    connections,
  });
  report.line({ measure: flushEvery === 0 ? 'storm' : 'flush', flushEvery, ...result });
}

const BENCHES: Readonly<Record<string, (stage: Stage, report: Report) => Promise<void>>> = {
  million: ({ db }, report) =>
    runMillion(db, report, {
      ...size,
      pages: Number(values.pages),
      appends: Number(values.appends),
      clients: Number(values.clients),
    }),
  cache: (stage, report) =>
    runCache(stage, report, {
      ...size,
      reads: Number(values.reads),
      timed: Number(values.timed),
    }),
  storm: (stage, report) => storm(stage, report, 0),
  flush: (stage, report) => storm(stage, report, 50),
};

async function main(): Promise<void> {
  const name = positionals[0] ?? '';
  const run = BENCHES[name];
  if (run === undefined) throw new Error(`name a bench: ${Object.keys(BENCHES).join(', ')}`);
  const out = values.out ?? join(process.env['COLLOQUY_HOME'] ?? '.colloquy', 'bench');
  mkdirSync(out, { recursive: true });
  const stage = await startStage(10);
  // A time-out's signal ends it like an error does: with its services.
  process.once('SIGTERM', () => void stage.close().finally(() => process.exit(1)));
  try {
    await run(stage, new Report(out, `store-${name}`));
  } finally {
    await stage.close();
  }
}

void main();
