// npm run bench:streams -- NAME [options]: one bench of the streams, on the running system that COLLOQUY_HOME describes.
//   idle        10,000 open streams in one gateway: memory of each, and append → socket with tokens on 1,000 of them
//   slow        readers beside stalled ones, slow headers, and a storm of reconnects
//   redis-cost  commands and bytes per 1,000 tokens, with the FLUSH_* of the environment
//   direct      400 tokens through Redis and the gateway beside the engine's own stream
// Each prints JSON lines, then writes them and a Markdown table to --out (default COLLOQUY_HOME/bench).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../process/config.ts';
import { Report } from '../engine/report.ts';
import { runningSystem, serviceVariables } from '../running-system.ts';
import { runDirect } from './direct.ts';
import { runIdle } from './idle.ts';
import { runRedisCost } from './redis-cost.ts';
import { runSlow } from './slow.ts';
import { onStage } from './stage.ts';
import type { Stage } from './stage.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string' },
    streams: { type: 'string', default: '10000' },
    flowing: { type: 'string', default: '1000' },
    rates: { type: 'string', default: '1000,2000,4000' },
    rate: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '10' },
    stalled: { type: 'string', default: '1000' },
    'slow-headers': { type: 'string', default: '500' },
    reconnects: { type: 'string', default: '1000' },
    tokens: { type: 'string', default: '1000' },
    'token-ms': { type: 'string', default: '3,10,25,80' },
    'reply-tokens': { type: 'string', default: '400' },
    pairs: { type: 'string', default: '10' },
  },
});
const numbers = (text: string): number[] => text.split(',').map(Number);

const BENCHES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  idle: (stage) =>
    runIdle(stage, {
      streams: Number(values.streams),
      flowing: Number(values.flowing),
      rates: numbers(values.rates),
      seconds: Number(values.seconds),
    }),
  slow: (stage) =>
    runSlow(stage, {
      flowing: Number(values.flowing),
      rate: Number(values.rate),
      seconds: Number(values.seconds),
      stalled: Number(values.stalled),
      slowHeaders: Number(values['slow-headers']),
      reconnects: Number(values.reconnects),
    }),
  'redis-cost': (stage) =>
    runRedisCost(stage, {
      tokens: Number(values.tokens),
      tokenMs: numbers(values['token-ms']),
      flush: loadConfig({ ...process.env, ...serviceVariables(stage.system) }).generate,
    }),
};

async function main(): Promise<void> {
  const name = positionals[0] ?? '';
  const run = BENCHES[name];
  if (run === undefined && name !== 'direct')
    throw new Error(`name a bench: ${Object.keys(BENCHES).join(', ')}, direct`);
  const system = runningSystem();
  const out = values.out ?? join(system.home, 'bench');
  mkdirSync(out, { recursive: true });
  const report = new Report(out, `streams-${name}`);
  if (run !== undefined) await onStage(system, report, run);
  else
    await runDirect(system, report, {
      pairs: Number(values.pairs),
      tokens: Number(values['reply-tokens']),
    });
}

// A time-out's signal ends it like an error does: with its children.
process.once('SIGTERM', () => process.exit(1));
void main();
