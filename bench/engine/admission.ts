// How many sequences the same KV bytes hold at once: paged, measured in the running engine, beside a server that
// reserves the greatest length for each. And what paging itself wastes: the unused ends of last blocks.
import { spread } from '../statistics.ts';
import { generate, openEngine, promptOf } from './engine-run.ts';
import { azureLengths, lognormalLengths } from './lengths.ts';
import type { RequestLengths } from './lengths.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const POOL_BYTES = 64 << 20;
const NUM_REQUESTS = 64;

interface Load {
  readonly name: string;
  /** Tokens that a reserving server sets aside for each. */
  readonly reserved: number;
  readonly requests: (seed: number) => RequestLengths[] | null;
}

const loads = ({ data }: BenchOptions): Load[] => [
  {
    name: 'ShareGPT-like (lognormal 161 / 338, variation 1.2)',
    reserved: 2048,
    requests: (seed) =>
      lognormalLengths(NUM_REQUESTS, seed, {
        prompt: 161,
        output: 338,
        variation: 1.2,
        maxTokens: 2048,
      }),
  },
  {
    name: 'Azure conversations ÷ 4',
    reserved: 1024,
    requests: (seed) =>
      azureLengths(data, { first: seed * 1000, count: NUM_REQUESTS, scale: 4, maxTokens: 1024 }),
  },
];

interface Admission {
  /** Sequences that ran at once, and the share of used blocks' tokens that held nothing: means over steps with a queue. */
  readonly admitted: number;
  readonly waste: number;
  readonly preemptions: number;
  readonly poolTokens: number;
}

export async function runAdmission(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'admission');
  const rows: (string | number)[][] = [];
  const groups = [];
  for (const { name, reserved, requests } of loads(options)) {
    const runs: Admission[] = [];
    for (let seed = 0; seed < Math.min(options.pairs, 3); seed += 1) {
      const lengths = requests(seed);
      if (lengths !== null) runs.push(await admit(options, lengths));
    }
    const poolTokens = runs[0]?.poolTokens;
    if (poolTokens === undefined) {
      report.line({ load: name, skipped: 'its file is absent' });
      continue;
    }
    const whole = Math.floor(poolTokens / reserved);
    const admitted = spread(runs.map((each) => each.admitted));
    const finding = {
      load: name,
      poolTokens,
      reserved,
      admitted,
      reserveMax: whole,
      reserveMaxUnrounded: Number((poolTokens / reserved).toPrecision(3)),
      ratio: spread(runs.map((each) => each.admitted / whole)),
      ratioUnrounded: spread(runs.map((each) => (each.admitted * reserved) / poolTokens)),
      wastePercent: spread(runs.map(({ waste }) => waste * 100)),
      preemptions: runs.map(({ preemptions }) => preemptions),
    };
    report.line(finding);
    rows.push([
      name,
      admitted.median,
      `${whole} (${finding.reserveMaxUnrounded} unrounded)`,
      `**${finding.ratio.median}** (${finding.ratioUnrounded.median} unrounded)`,
      `${finding.wastePercent.median} %`,
      finding.preemptions.join(', '),
    ]);
    groups.push({
      title: name,
      bars: [
        { label: 'paged', value: admitted.median, isOurs: true },
        { label: `${reserved} tokens reserved`, value: whole },
      ],
    });
  }
  report.table([['load', 'paged', 'reserved', 'ratio', 'waste of blocks', 'preemptions'], ...rows]);
  report.plot('Sequences at once in 64 MiB of keys and values', 'mean over a full queue', groups);
}

async function admit(
  options: BenchOptions,
  lengths: readonly RequestLengths[],
): Promise<Admission> {
  const samples: { running: number; waste: number }[] = [];
  /** Known tokens of each unfinished sequence, in order of arrival: those that run come first. */
  const live = new Map<number, number>();
  const open = openEngine(options, {
    maxNumBatchedTokens: 256,
    maxNumSeqs: 256,
    kvPoolBytes: POOL_BYTES,
    onStep: () => {
      const { waiting, preempted, running, kvBlocks } = open.engine.stats();
      // The end of a run has no queue, at its beginning all are young, and between two of a lone one's steps none runs.
      const numFinished = lengths.length - live.size;
      if (waiting + preempted === 0 || numFinished < running || running === 0) return;
      const held = [...live.values()].slice(0, running).reduce((sum, each) => sum + each, 0);
      samples.push({ running, waste: 1 - held / (kvBlocks.used * open.native.blockSize) });
    },
  });
  await Promise.all(
    lengths.map(async ({ promptTokens, outputTokens }, index) => {
      live.set(index, promptTokens);
      await generate(open.engine, promptOf(index, promptTokens), outputTokens, {
        onToken: () => live.set(index, (live.get(index) ?? 0) + 1),
      });
      live.delete(index);
    }),
  );
  const mean = (of: (sample: { running: number; waste: number }) => number): number =>
    samples.reduce((sum, each) => sum + of(each), 0) / samples.length;
  const admission = {
    admitted: mean(({ running }) => running),
    waste: mean(({ waste }) => waste),
    preemptions: open.engine.stats().numPreemptions,
    poolTokens: open.native.numBlocks * open.native.blockSize,
  };
  await open.engine.close();
  return admission;
}
