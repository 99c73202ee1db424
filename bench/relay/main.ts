// npm run bench:relay -- [stream|turns] [--pairs 5] [--streams 32] [--tokens 200] [--token-ms 20] [--turns 160] [--in-flight 16]
//   stream  bar 11: streamed tokens relayed per gateway CPU-second, beside LiteLLM and Portkey relaying the same upstream
//   turns   started durable turns a second beside their plain requests a second, with the CPU of each part
// On the running system that COLLOQUY_HOME describes; peers by bench/peers/{litellm,portkey}/set-up.sh.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { projectPath } from '../../process/paths.ts';
import { Report } from '../engine/report.ts';
import { Histogram } from '../histogram.ts';
import { treeCpuSeconds } from '../process-usage.ts';
import { runningSystem } from '../running-system.ts';
import { spread } from '../statistics.ts';
import type { ClientPhase, ClientReport, ClientTask } from './client-process.ts';
import type { RelayContender } from './contender.ts';
import { startOurs } from './ours.ts';
import { startLiteLlm, startPortkey } from './peers.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: 'string', default: '5' },
    streams: { type: 'string', default: '32' },
    tokens: { type: 'string', default: '200' },
    'token-ms': { type: 'string', default: '20' },
    turns: { type: 'string', default: '160' },
    'in-flight': { type: 'string', default: '16' },
    out: { type: 'string' },
  },
});

/** A time-out's signal: the pair under way is finished, and those so far are told. */
let isStopping = false;
process.once('SIGTERM', () => (isStopping = true));

interface Round {
  readonly report: ClientReport;
  /** Part → CPU seconds. */
  readonly cpu: Readonly<Record<string, number>>;
  /** While every stream flowed and none had ended: starting and ending turns is not in it. Null when there was no such time. */
  readonly flow: {
    readonly tokens: number;
    readonly gatewayCpu: number;
    readonly cpu: number;
  } | null;
}

function cpuOf({ parts }: RelayContender): Record<string, number> {
  return Object.fromEntries(
    Object.entries(parts).map(([part, pids]) => [
      part,
      pids.reduce((sum, pid) => sum + treeCpuSeconds(pid), 0),
    ]),
  );
}

async function measure(
  client: ChildProcess,
  contender: RelayContender,
  shape: { count: number; tokens: number; isStreamed: boolean; inFlight: number },
): Promise<Round> {
  const requests = await contender.prepare(shape.count, shape.tokens, shape.isStreamed);
  const before = cpuOf(contender);
  client.send({ requests, inFlight: shape.inFlight } satisfies ClientTask);
  const marks: { tokens: number; cpu: Record<string, number> }[] = [];
  let report: ClientReport | null = null;
  while (report === null) {
    const [said] = (await once(client, 'message')) as [ClientReport | ClientPhase];
    if (said.phase === undefined) report = said;
    else marks.push({ tokens: said.tokens, cpu: cpuOf(contender) });
  }
  // What is still done for these replies after the last byte (settling, closing the workflow) is part of their cost.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const after = cpuOf(contender);
  const cpu = Object.fromEntries(
    Object.keys(after).map((part) => [part, (after[part] ?? 0) - (before[part] ?? 0)]),
  );
  if (report.failures > 0) throw new Error(`${contender.name}: ${report.failures} failed`);
  const [flowing, ending] = marks;
  const all = (parts: Record<string, number>): number =>
    Object.values(parts).reduce((sum, part) => sum + part, 0);
  const flow =
    flowing === undefined || ending === undefined
      ? null
      : {
          tokens: ending.tokens - flowing.tokens,
          gatewayCpu: (ending.cpu['gateway'] ?? NaN) - (flowing.cpu['gateway'] ?? NaN),
          cpu: all(ending.cpu) - all(flowing.cpu),
        };
  return { report, cpu, flow };
}

const digits = (value: number): number => Number(value.toPrecision(3));
const shown = (sample: readonly number[]): string => {
  const { median, min, max } = spread(sample.filter(Number.isFinite));
  return `${median} (${min}–${max})`;
};

async function main(): Promise<void> {
  const mode = positionals[0] ?? 'stream';
  const isStreamed = mode === 'stream';
  const system = runningSystem();
  const out = values.out ?? join(system.home, 'bench');
  mkdirSync(join(system.home, 'bench'), { recursive: true });
  mkdirSync(out, { recursive: true });
  const report = new Report(out, `relay-${mode}`);
  const upstream = fork(projectPath('dist', 'bench', 'relay', 'upstream.js'), [values['token-ms']]);
  const [port] = (await once(upstream, 'message')) as [number];
  const base = `http://127.0.0.1:${port}/v1`;
  const client = fork(projectPath('dist', 'bench', 'relay', 'client-process.js'));
  const contenders = [
    await startOurs(system, base),
    await startLiteLlm(system.home, base),
    await startPortkey(system.home, base),
  ].filter((each) => each !== null);
  const shape = isStreamed
    ? {
        count: Number(values.streams),
        inFlight: Number(values.streams),
        tokens: Number(values.tokens),
        isStreamed,
      }
    : { count: Number(values.turns), inFlight: Number(values['in-flight']), tokens: 1, isStreamed };
  const rounds = new Map<string, Round[]>(contenders.map(({ name }) => [name, []]));
  try {
    for (const each of contenders) {
      report.line({ contender: each.name, about: each.about });
      await measure(client, each, { ...shape, tokens: Math.min(50, shape.tokens) });
    }
    for (let pair = 0; pair < Number(values.pairs) && !isStopping; pair += 1) {
      for (const each of contenders) {
        const round = await measure(client, each, shape);
        rounds.get(each.name)?.push(round);
        const cpu = Object.values(round.cpu).reduce((sum, part) => sum + part, 0);
        const [first, done] = [new Histogram(), new Histogram()];
        first.merge(round.report.firstTokenMs);
        done.merge(round.report.doneMs);
        report.line({
          contender: each.name,
          pair,
          seconds: digits(round.report.seconds),
          tokens: round.report.tokens,
          perSecond: digits(round.report.answers / round.report.seconds),
          tokensPerGatewayCpuSecond: digits(round.report.tokens / (round.cpu['gateway'] ?? NaN)),
          tokensPerCpuSecondOfAllParts: digits(round.report.tokens / cpu),
          ...(round.flow === null
            ? {}
            : {
                flowing: {
                  tokens: round.flow.tokens,
                  tokensPerGatewayCpuSecond: digits(round.flow.tokens / round.flow.gatewayCpu),
                  tokensPerCpuSecondOfAllParts: digits(round.flow.tokens / round.flow.cpu),
                },
              }),
          cpuSeconds: Object.fromEntries(
            Object.entries(round.cpu).map(([part, seconds]) => [part, digits(seconds)]),
          ),
          firstTokenMs: first.summary(),
          doneMs: done.summary(),
        });
      }
    }
  } finally {
    for (const each of contenders) await each.stop();
    client.disconnect();
    upstream.disconnect();
  }
  report.table(tableOf(rounds, isStreamed));
}

function tableOf(rounds: ReadonlyMap<string, readonly Round[]>, isStreamed: boolean): string[][] {
  return isStreamed ? streamTable(rounds) : turnTable(rounds);
}

type Rounds = ReadonlyMap<string, readonly Round[]>;

const ratios = (
  ours: readonly Round[] | undefined,
  theirs: readonly Round[],
  value: (round: Round) => number,
): string =>
  shown(
    theirs.flatMap((round, index) => {
      const mine = ours?.[index];
      return mine === undefined ? [] : [value(mine) / value(round)];
    }),
  );

function streamTable(rounds: Rounds): string[][] {
  const [ours] = rounds.values();
  const flowing = ({ flow }: Round): number => (flow?.tokens ?? NaN) / (flow?.gatewayCpu ?? NaN);
  const everything = ({ flow }: Round): number => (flow?.tokens ?? NaN) / (flow?.cpu ?? NaN);
  const whole = ({ report, cpu }: Round): number => report.tokens / (cpu['gateway'] ?? NaN);
  return [
    [
      'gateway',
      'tokens per gateway CPU-second, flowing',
      'ours ÷ it',
      'of all parts',
      'with start and end',
      'ours ÷ it',
    ],
    ...[...rounds].map(([name, all]) => [
      name,
      shown(all.map(flowing)),
      ratios(ours, all, flowing),
      shown(all.map(everything)),
      shown(all.map(whole)),
      ratios(ours, all, whole),
    ]),
  ];
}

function turnTable(rounds: Rounds): string[][] {
  const [ours] = rounds.values();
  const rate = ({ report }: Round): number => report.answers / report.seconds;
  return [
    ['gateway', 'replies a second', 'ours ÷ it', 'CPU ms a reply, by part'],
    ...[...rounds].map(([name, all]) => {
      const parts = Object.keys(all[0]?.cpu ?? {}).map((part) => {
        const ms = all.map(({ cpu, report }) => ((cpu[part] ?? NaN) * 1000) / report.answers);
        return `${part} ${spread(ms).median}`;
      });
      return [name, shown(all.map(rate)), ratios(ours, all, rate), parts.join(', ')];
    }),
  ];
}

void main();
