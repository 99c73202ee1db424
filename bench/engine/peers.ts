// Our engine beside its peers: same prompts, same lengths, same threads, A B A B. `--only name,name` measures some of them
// and keeps what the report said of the others.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { spread } from '../statistics.ts';
import type { Spread } from '../statistics.ts';
import type { BarGroup } from './bar-plot.ts';
import { WORKLOADS } from './contender.ts';
import type { Contender, Workload } from './contender.ts';
import { llamaCppContenders } from './contender-llama-cpp.ts';
import { ourContender } from './contender-ours.ts';
import { processContender } from './contender-process.ts';
import { paramsPerToken } from './gguf-shapes.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';
import { measureRoofline } from './roofline.ts';
import type { Roofline } from './roofline.ts';

interface Comparison {
  readonly workload: string;
  readonly peer: string;
  readonly about: string;
  readonly ours: Spread;
  readonly theirs: Spread;
  /** Ours ÷ theirs, pair by pair. */
  readonly ratio: Spread;
  /** Our median over what the roofline allows. */
  readonly rooflineShare: number;
  readonly ourResidentMB: number | null;
  readonly theirResidentMB: number | null;
}

/** Makers, so that only one peer is loaded at a time. */
async function openPeers(options: BenchOptions): Promise<[string, () => Promise<Contender>][]> {
  const { model, threads, peers } = options;
  const python = join(peers, 'openvino', 'venv', 'bin', 'python');
  const openvino = [python, 'bench/peers/openvino/serve.py', model, String(threads)];
  const node = ['node', join(peers, 'node-llama-cpp', 'serve.mjs'), model, String(threads)];
  const all: [string, () => Promise<Contender>][] = llamaCppContenders(options).map((each) => [
    each.name,
    () => Promise.resolve(each),
  ]);
  if (existsSync(python)) {
    all.push(['OpenVINO', () => processContender('OpenVINO', openvino)]);
    const withoutAmx = [...openvino, 'no-amx'];
    all.push(['OpenVINO (no AMX)', () => processContender('OpenVINO (no AMX)', withoutAmx)]);
  }
  if (existsSync(join(peers, 'node-llama-cpp', 'node_modules')))
    all.push(['node-llama-cpp', () => processContender('node-llama-cpp', node)]);
  return all.filter(([name]) => options.only.length === 0 || options.only.includes(name));
}

export async function runPeers(options: BenchOptions): Promise<void> {
  const peers = await openPeers(options);
  if (peers.length === 0) throw new Error('no peer is set up: see bench/peers/README.md');
  const names = peers.map(([name]) => name);
  const kept = earlier(join(options.out, 'peers.jsonl')).filter(
    ({ peer }) => !names.includes(peer),
  );
  const report = new Report(options.out, 'peers');
  const roofline = measureRoofline(options);
  report.line({ ...roofline });
  const ours = ourContender(options);
  const found: Comparison[] = [...kept];
  for (const each of kept) report.keep(each);
  for (const [, open] of peers) {
    const peer = await open();
    for (const workload of WORKLOADS) {
      const share = (rate: number): number =>
        rate / bound(options.model, ours.weightsBytes, workload, roofline);
      const comparison = await compare(ours, peer, workload, options.pairs, share);
      report.line(comparison);
      found.push(comparison);
    }
    await peer.close();
  }
  await ours.close();
  summarise(report, found);
}

async function compare(
  ours: Contender,
  peer: Contender,
  workload: Workload,
  pairs: number,
  share: (rate: number) => number,
): Promise<Comparison> {
  const [one, other]: [number[], number[]] = [[], []];
  let memory: [number | null, number | null] = [null, null];
  for (let pair = 0; pair <= pairs; pair += 1) {
    const [a, b] = [await ours.run(workload, pair), await peer.run(workload, pair)];
    // The first pair warms both up.
    if (pair === 0) continue;
    one.push(a.tokensPerSecond);
    other.push(b.tokensPerSecond);
    memory = [a.residentBytes, b.residentBytes];
  }
  const [ourResidentMB, theirResidentMB] = memory.map((bytes) =>
    bytes === null ? null : Math.round(bytes / 2 ** 20),
  ) as [number | null, number | null];
  return {
    workload: workload.name,
    peer: peer.name,
    about: peer.about,
    ours: spread(one),
    theirs: spread(other),
    ratio: spread(one.map((rate, index) => rate / (other[index] ?? NaN))),
    rooflineShare: Number(share(spread(one).median).toPrecision(2)),
    ourResidentMB,
    theirResidentMB,
  };
}

/**
 * Tokens a second that the machine allows: a step reads all weights once, and multiplies each by each token's row. Time is
 * the greater of the two, with nothing else in it.
 */
function bound(
  model: string,
  weightsBytes: number,
  { numSeqs, promptTokens, decodeTokens }: Workload,
  { weightsReadGBps, int8GOPS }: Roofline,
): number {
  const { body, head } = paramsPerToken(model);
  const rows = decodeTokens === 1 ? numSeqs * promptTokens : numSeqs;
  const operations = 2 * (rows * body + numSeqs * head);
  return rows / Math.max(weightsBytes / (weightsReadGBps * 1e9), operations / (int8GOPS * 1e9));
}

/** Findings of an earlier run of this bench; the first lines are of the machine. */
function earlier(path: string): Comparison[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return lines
    .map((line) => JSON.parse(line) as Partial<Comparison>)
    .filter((line): line is Comparison => line.peer !== undefined && line.ratio !== undefined);
}

function summarise(report: Report, all: readonly Comparison[]): void {
  const found = [...all].sort((one, other) => (one.peer < other.peer ? -1 : 1));
  const cell = ({ median, min, max }: Spread): string => `${median} (${min}–${max})`;
  report.table([
    [
      'measure',
      'peer',
      'ours, tok/s',
      'peer, tok/s',
      'ratio',
      'of roofline',
      'RSS MB, ours / peer',
    ],
    ...WORKLOADS.flatMap(({ name }) =>
      found
        .filter(({ workload }) => workload === name)
        .map((each) => [
          name,
          each.peer,
          cell(each.ours),
          cell(each.theirs),
          `**${each.ratio.median}** (${each.ratio.min}–${each.ratio.max})`,
          `${Math.round(each.rooflineShare * 100)} %`,
          `${each.ourResidentMB ?? '?'} / ${each.theirResidentMB ?? '?'}`,
        ]),
    ),
  ]);
  const groups: BarGroup[] = WORKLOADS.map(({ name }) => {
    const rows = found.filter(({ workload }) => workload === name);
    const bars = rows.map(({ peer, theirs }) => ({
      label: peer,
      value: theirs.median,
      range: [theirs.min, theirs.max] as const,
    }));
    const medians = rows.map(({ ours }) => ours.median);
    const range = [
      Math.min(...rows.map(({ ours }) => ours.min)),
      Math.max(...rows.map(({ ours }) => ours.max)),
    ] as const;
    return {
      title: name,
      bars: [{ label: 'Colloquy', value: spread(medians).median, range, isOurs: true }, ...bars],
    };
  });
  report.plot(
    'Tokens per second beside peers, 2 threads',
    'tokens per second, median and range',
    groups,
  );
}
