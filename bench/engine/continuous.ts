// Continuous batching beside static batching in the same engine with the same eight slots, on a queue that is never empty.
//   padded   eight are admitted; every row runs to the longest prompt and the longest output of its eight; then the next
//   static   eight are admitted, each to its own length; when all are done the next eight come
import { spread } from '../statistics.ts';
import { generate, openEngine, promptOf } from './engine-run.ts';
import type { OpenEngine } from './engine-run.ts';
import { azureLengths, exponentialLengths } from './lengths.ts';
import type { RequestLengths } from './lengths.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const SLOTS = 8;
const AZURE = { scale: 4, maxTokens: 1024 };

type Policy = (
  open: OpenEngine,
  requests: readonly RequestLengths[],
  seed: number,
) => Promise<void>;

const run = async (
  { engine }: OpenEngine,
  { promptTokens, outputTokens }: RequestLengths,
  seed: number,
): Promise<void> => void (await generate(engine, promptOf(seed, promptTokens), outputTokens));

const continuous: Policy = async (open, requests, seed) => {
  await Promise.all(requests.map((each, index) => run(open, each, seed + index)));
};

const inBatches: Policy = async (open, requests, seed) => {
  for (let first = 0; first < requests.length; first += SLOTS)
    await continuous(open, requests.slice(first, first + SLOTS), seed + first);
};

const padded: Policy = async (open, requests, seed) => {
  for (let first = 0; first < requests.length; first += SLOTS) {
    const batch = requests.slice(first, first + SLOTS);
    const longest = {
      promptTokens: Math.max(...batch.map(({ promptTokens }) => promptTokens)),
      outputTokens: Math.max(...batch.map(({ outputTokens }) => outputTokens)),
    };
    await continuous(
      open,
      batch.map(() => longest),
      seed + first,
    );
  }
};

/** Requests of a pair; null when their source is absent. */
type Source = (pair: number) => RequestLengths[] | null;

function sources({ data, only }: BenchOptions): [string, Source][] {
  const all: [string, Source][] = [
    ['exponential', (pair) => exponentialLengths(64, pair, { promptTokens: 32, meanOutput: 64 })],
    ['azure', (pair) => azureLengths(data, { first: pair * 1000, count: 24, ...AZURE })],
  ];
  return all.filter(([name]) => only.length === 0 || only.includes(name));
}

export async function runContinuous(options: BenchOptions): Promise<void> {
  const report = new Report(
    options.out,
    `continuous${options.only.map((each) => `-${each}`).join('')}`,
  );
  const open = openEngine(options, {
    maxNumBatchedTokens: 256,
    maxNumSeqs: SLOTS,
    kvPoolBytes: 256 << 20,
  });
  const rows: string[][] = [];
  const groups = [];
  for (const [name, source] of sources(options)) {
    const rates = await measure(open, source, options.pairs);
    if (rates === null) {
      report.line({ lengths: name, skipped: 'its file is absent' });
      continue;
    }
    const ratioTo = (other: readonly number[]): ReturnType<typeof spread> =>
      spread(rates.continuous.map((rate, index) => rate / (other[index] ?? NaN)));
    const finding = {
      lengths: name,
      slots: SLOTS,
      pairs: options.pairs,
      ...(name === 'azure' ? AZURE : {}),
      continuous: spread(rates.continuous),
      padded: spread(rates.padded),
      static: spread(rates.static),
      overPadded: ratioTo(rates.padded),
      overStatic: ratioTo(rates.static),
    };
    report.line(finding);
    const cell = ({ median, min, max }: ReturnType<typeof spread>): string =>
      `${median} (${min}–${max})`;
    rows.push([
      name,
      cell(finding.continuous),
      cell(finding.padded),
      cell(finding.static),
      `**${finding.overPadded.median}** (${finding.overPadded.min}–${finding.overPadded.max})`,
      cell(finding.overStatic),
    ]);
    groups.push({
      title: `${name} lengths`,
      bars: (['continuous', 'static', 'padded'] as const).map((policy) => ({
        label: policy,
        value: finding[policy].median,
        range: [finding[policy].min, finding[policy].max] as const,
        isOurs: policy === 'continuous',
      })),
    });
  }
  await open.engine.close();
  report.table([
    ['lengths', 'continuous, tok/s', 'padded, tok/s', 'static, tok/s', '÷ padded', '÷ static'],
    ...rows,
  ]);
  report.plot(
    'Continuous beside static batching, 8 slots',
    'useful output tokens per second',
    groups,
  );
}

/** Useful output tokens a second of each policy, pair by pair; the requests differ from pair to pair. */
async function measure(
  open: OpenEngine,
  source: Source,
  pairs: number,
): Promise<Record<'continuous' | 'padded' | 'static', number[]> | null> {
  const rates = { continuous: [] as number[], padded: [] as number[], static: [] as number[] };
  const policies = { continuous, padded, static: inBatches } as const;
  await run(open, { promptTokens: 256, outputTokens: 16 }, 0);
  for (let pair = 0; pair < pairs; pair += 1) {
    const requests = source(pair);
    if (requests === null) return null;
    const useful = requests.reduce((sum, { outputTokens }) => sum + outputTokens, 0);
    for (const name of ['continuous', 'padded', 'static'] as const) {
      const since = performance.now();
      await policies[name](open, requests, pair * 1000);
      rates[name].push((useful * 1000) / (performance.now() - since));
    }
  }
  return rates;
}
