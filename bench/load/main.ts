// npm run bench:load -- [--rate 2 | --clients 8] [--seconds 60] [--trace FILE --scale 4 | --prompt-tokens 64 --output-tokens 64]
//                       [--free-share 0.5] [--spacing poisson|even] [--seed 1] [--out FOLDER]
// A load of the public API on the running system that COLLOQUY_HOME describes. --rate is an open loop: turns arrive at their
// own times and are measured from them. --clients is a closed loop. --trace is the Azure conversation trace's CSV (.gz).
// Prints JSON lines, then writes them with the histograms and a Markdown table to --out (default COLLOQUY_HOME/bench).
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { randomNumbers } from '../random-numbers.ts';
import { Report } from '../engine/report.ts';
import { cpuSeconds, treeCpuSeconds } from '../process-usage.ts';
import { runningSystem } from '../running-system.ts';
import type { RunningSystem } from '../running-system.ts';
import { openArrivals, runClosed, runOpen } from './arrivals.ts';
import { OBJECTIVES, Tally } from './tally.ts';
import type { LoadTier } from './tally.ts';
import { openConversation, runTimedTurn } from './timed-turn.ts';
import { messageOf, traceLengths } from './turn-lengths.ts';
import type { TurnLengths } from './turn-lengths.ts';

const { values } = parseArgs({
  options: {
    rate: { type: 'string' },
    clients: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '60' },
    spacing: { type: 'string', default: 'poisson' },
    trace: { type: 'string' },
    scale: { type: 'string', default: '4' },
    'max-tokens': { type: 'string', default: '2048' },
    'prompt-tokens': { type: 'string', default: '64' },
    'output-tokens': { type: 'string', default: '64' },
    'free-share': { type: 'string', default: '0.5' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});

/** PostgreSQL works in children; everything else is the one process. */
function cpuByProcess(system: RunningSystem): Map<string, number> {
  const named = system.processes.map(
    ({ name, kind, pid }) =>
      [name, kind === 'postgres' ? treeCpuSeconds(pid) : cpuSeconds(pid)] as const,
  );
  return new Map([...named, ['this load', cpuSeconds(process.pid)] as const]);
}

async function main(): Promise<void> {
  const system = runningSystem();
  const out = values.out ?? join(system.home, 'bench');
  mkdirSync(out, { recursive: true });
  const report = new Report(out, 'load');
  const [seed, seconds] = [Number(values.seed), Number(values.seconds)];
  const trace =
    values.trace === undefined
      ? null
      : traceLengths(values.trace, Number(values.scale), Number(values['max-tokens']));
  const alike: TurnLengths = {
    promptTokens: Number(values['prompt-tokens']),
    outputTokens: Number(values['output-tokens']),
  };
  const random = randomNumbers(seed);
  // Enterprise's limits do not bind; its objective is that of who pays.
  const tiers = Array.from({ length: 4096 }, (): LoadTier =>
    random() < Number(values['free-share']) ? 'free' : 'paid',
  );
  const tokens = { free: system.tokens['free'] ?? '', paid: system.tokens['enterprise'] ?? '' };
  const tally = new Tally();
  const run = async (index: number, dueAt: number, conversation?: string): Promise<void> => {
    const tier = tiers[index % tiers.length] ?? 'paid';
    const { promptTokens, outputTokens } = trace?.[index % trace.length] ?? alike;
    const id = conversation ?? (await openConversation(system.gateway, tokens[tier]));
    const body = {
      role: 'user',
      content: messageOf(index, promptTokens),
      max_tokens: outputTokens,
      temperature: 0,
    };
    const due = conversation === undefined ? performance.now() : dueAt;
    tally.add(tier, await runTimedTurn(system.gateway, tokens[tier], id, body, due));
  };

  const times =
    values.rate === undefined
      ? null
      : openArrivals(
          Number(values.rate),
          seconds,
          values.spacing === 'even' ? 'even' : 'poisson',
          seed,
        );
  const conversations: string[] = [];
  for (const index of times?.keys() ?? [])
    conversations.push(
      await openConversation(system.gateway, tokens[tiers[index % tiers.length] ?? 'paid']),
    );
  const before = cpuByProcess(system);
  const begun = performance.now();
  if (times !== null)
    await runOpen(times, (index, dueAt) => run(index, dueAt, conversations[index]));
  else await runClosed(Number(values.clients), seconds, (index, dueAt) => run(index, dueAt));
  const elapsed = (performance.now() - begun) / 1000;
  const after = cpuByProcess(system);
  const cpu = [...after].map(([name, spent]) => [name, spent - (before.get(name) ?? 0)] as const);
  const total = cpu.reduce((sum, [, spent]) => sum + spent, 0);
  const percent = (value: number): number => Number((value * 100).toPrecision(3));
  const loop =
    times === null ? `closed, ${values.clients} clients` : `open, ${values.rate} turns/s`;
  const lengths =
    trace === null
      ? `${alike.promptTokens} + ${alike.outputTokens} tokens`
      : `Azure trace ÷ ${values.scale}`;
  const summary = tally.summary(elapsed);
  report.line({
    loop,
    spacing: times === null ? null : values.spacing,
    lengths,
    freeShare: Number(values['free-share']),
    seconds: Math.round(elapsed),
    objectives: OBJECTIVES,
    ...summary,
    cpuSharePercent: Object.fromEntries(cpu.map(([name, spent]) => [name, percent(spent / total)])),
    coresBusy: Number((total / elapsed).toPrecision(3)),
  });
  report.keep({ histograms: tally.histograms() });
  const row = (
    name: string,
    of: { p50: number; p90: number; p99: number; max: number },
  ): (string | number)[] => [name, of.p50, of.p90, of.p99, of.max];
  report.table([
    ['ms', 'p50', 'p90', 'p99', 'max'],
    row('TTFT, paid', summary.ttftMs.paid),
    row('TTFT, free', summary.ttftMs.free),
    row('between token events', summary.interTokenMs),
    row('TPOT', summary.tpotMs),
    row('whole turn', summary.doneMs),
  ]);
  process.exit(0);
}

void main();
