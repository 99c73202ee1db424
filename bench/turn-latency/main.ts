// npm run bench [-- --turns 300 --pairs 5 --loop-turns 160]: the turn path beside the bare path, interleaved on the running
// system that COLLOQUY_HOME describes. Everything shares the machine's cores: engine, gateway, services and this load.
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { quantile, summary } from '../statistics.ts';
import { startBarePath } from './bare-path.ts';
import type { BarePath } from './bare-path.ts';
import { newConversation, readStages, runTurn } from './full-path.ts';
import type { System } from './full-path.ts';
import { readCpu } from './process-cpu.ts';
import type { NamedProcess } from './process-cpu.ts';

const CONTENT = 'Hi';
const IN_FLIGHT = 16;

interface Endpoints {
  readonly gateway: string;
  readonly temporal: string;
  readonly redis: string;
  readonly tokens: Record<string, string>;
}

function readRun<Content>(file: string): Content {
  return JSON.parse(
    readFileSync(join(process.env['COLLOQUY_HOME'] ?? '.colloquy', 'run', file), 'utf8'),
  ) as Content;
}

/** Milliseconds of `stage` between two readings, per turn. */
type Stages = Awaited<ReturnType<typeof readStages>>;
const spent = (before: Stages, after: Stages, stage: string): number =>
  ((after.get(stage)?.sum ?? 0) - (before.get(stage)?.sum ?? 0)) * 1000;

async function sequential(system: System, bare: BarePath, numTurns: number): Promise<object> {
  const samples = {
    bare: [] as number[],
    bareComplete: [] as number[],
    full: [] as number[],
    prefill: [] as number[],
    done: [] as number[],
  };
  const perStage = new Map<string, number[]>();
  for (let turn = 0; turn < numTurns; turn += 1) {
    const one = await bare.run();
    samples.bare.push(one.firstEntryMs);
    samples.bareComplete.push(one.completeMs);
    const conversationId = await newConversation(system);
    const before = await readStages(system);
    const { firstTokenMs, doneMs } = await runTurn(system, conversationId, CONTENT, 8);
    const after = await readStages(system);
    const prefill = spent(before, after, 'prefill');
    samples.full.push(firstTokenMs - prefill);
    samples.prefill.push(prefill);
    samples.done.push(doneMs);
    for (const stage of after.keys())
      perStage.set(stage, [...(perStage.get(stage) ?? []), spent(before, after, stage)]);
  }
  const ratio = (q: number): number =>
    Math.round((quantile(samples.full, q) / quantile(samples.bare, q)) * 100) / 100;
  return {
    bench: 'turn-latency',
    turns: numTurns,
    bareFirstEntryMs: summary(samples.bare),
    bareCompleteMs: summary(samples.bareComplete),
    fullFirstTokenLessPrefillMs: summary(samples.full),
    prefillMs: summary(samples.prefill),
    doneMs: summary(samples.done),
    ratioP50: ratio(0.5),
    ratioP99: ratio(0.99),
    stagesMs: Object.fromEntries([...perStage].map(([stage, values]) => [stage, summary(values)])),
  };
}

/** Turns per second with IN_FLIGHT always under way. */
async function closedLoop(numTurns: number, run: () => Promise<unknown>): Promise<number> {
  let started = 0;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (started++ < numTurns) await run();
    }),
  );
  return Math.round((numTurns / (performance.now() - begun)) * 100_000) / 100;
}

/** Milliseconds of CPU per turn of each process, this load's own included. */
class CpuPerTurn {
  readonly #processes: readonly NamedProcess[];
  readonly #spent = new Map<string, number>();
  #numTurns = 0;

  constructor(processes: readonly NamedProcess[]) {
    this.#processes = [...processes, { name: 'load', pid: process.pid }];
  }

  async during(numTurns: number, work: () => Promise<number>): Promise<number> {
    const before = readCpu(this.#processes);
    const result = await work();
    for (const [name, used] of readCpu(this.#processes))
      this.#spent.set(name, (this.#spent.get(name) ?? 0) + used - (before.get(name) ?? 0));
    this.#numTurns += numTurns;
    return result;
  }

  report(): Record<string, number> {
    const perTurn = (used: number): number => Math.round((used / this.#numTurns) * 100) / 100;
    const total = [...this.#spent.values()].reduce((sum, used) => sum + used, 0);
    const each = [...this.#spent].map(([name, used]) => [name, perTurn(used)] as const);
    return { ...Object.fromEntries(each), all: perTurn(total) };
  }
}

/** Bare and full closed loops in turn, and the CPU that each process spent on a turn. */
async function pairLoops(
  system: System,
  bare: BarePath,
  processes: readonly NamedProcess[],
  numPairs: number,
  numTurns: number,
): Promise<object> {
  const pairs: { bare: number; full: number; ratio: number }[] = [];
  const [bareCpu, fullCpu] = [new CpuPerTurn(processes), new CpuPerTurn(processes)];
  for (let pair = 0; pair < numPairs; pair += 1) {
    const conversations: string[] = [];
    while (conversations.length < numTurns) conversations.push(await newConversation(system));
    const one = await bareCpu.during(numTurns, () => closedLoop(numTurns, () => bare.run()));
    const other = await fullCpu.during(numTurns, () =>
      closedLoop(numTurns, () => runTurn(system, conversations.pop() ?? '', CONTENT, 8)),
    );
    pairs.push({ bare: one, full: other, ratio: Math.round((other / one) * 100) / 100 });
  }
  return {
    bench: 'closed-loop',
    inFlight: IN_FLIGHT,
    replyTokens: 8,
    turnsPerSecond: pairs,
    ratio: summary(pairs.map((each) => each.ratio)),
    cpuMsPerBareTurn: bareCpu.report(),
    cpuMsPerTurn: fullCpu.report(),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      turns: { type: 'string', default: '300' },
      pairs: { type: 'string', default: '5' },
      'loop-turns': { type: 'string', default: '160' },
    },
  });
  const [numTurns, numPairs] = [Number(values.turns), Number(values.pairs)];
  const loopTurns = Number(values['loop-turns']);
  const endpoints = readRun<Endpoints>('endpoints.json');
  const processes = readRun<(NamedProcess & { metrics_url?: string })[]>('processes.json').filter(
    ({ name }) => name !== 'supervisor',
  );
  const system: System = {
    gateway: endpoints.gateway,
    token: endpoints.tokens['enterprise'] ?? '',
    metricsUrls: processes.flatMap((each) => each.metrics_url ?? []),
  };
  const bare = await startBarePath(endpoints.temporal, endpoints.redis);
  const report = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  report({
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    node: process.version,
    shares: 'engine, gateway, services and load share all cores',
  });
  for (let warm = 0; warm < 20; warm += 1) {
    await bare.run();
    await runTurn(system, await newConversation(system), CONTENT, 8);
  }
  if (numTurns > 0) report(await sequential(system, bare, numTurns));
  report(await pairLoops(system, bare, processes, numPairs, loopTurns));
  await bare.close();
  process.exit(0);
}

void main();
