// Worst pause of eight replies while a prompt of 2,000 tokens prefills: in chunks under a token budget, and in one step.
import { spread } from '../statistics.ts';
import type { Spread } from '../statistics.ts';
import { generate, openEngine, promptOf } from './engine-run.ts';
import type { Generation, OpenEngine } from './engine-run.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const NUM_DECODING = 8;
const LONG_PROMPT = 2000;
/** Enough to go on beyond the prompt's last chunk under the smallest budget. */
const REPLY_TOKENS = 96;
const UNCHUNKED = 4096;
const BUDGETS = [64, 128, 256, 512, UNCHUNKED];

interface Pause {
  /** Greatest time between two tokens of one reply, from the long prompt's arrival to its first token, ms. */
  readonly worstGapMs: number;
  readonly longFirstTokenMs: number;
}

export async function runChunked(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'chunked');
  const engines = BUDGETS.map((maxNumBatchedTokens) => ({
    budget: maxNumBatchedTokens,
    open: openEngine(options, { maxNumBatchedTokens, maxNumSeqs: 16, kvPoolBytes: 96 << 20 }),
    pauses: [] as Pause[],
  }));
  // The first round warms up.
  for (let round = 0; round <= options.pairs; round += 1) {
    for (const { open, pauses } of engines) {
      const pause = await measure(open, round * 100);
      if (round > 0) pauses.push(pause);
    }
  }
  await Promise.all(engines.map(({ open }) => open.engine.close()));
  const gaps = (pauses: readonly Pause[]): number[] => pauses.map(({ worstGapMs }) => worstGapMs);
  const whole = gaps(engines.at(-1)?.pauses ?? []);
  const findings = engines.map(({ budget, pauses }) => ({
    maxNumBatchedTokens: budget,
    worstGapMs: spread(gaps(pauses)),
    longFirstTokenMs: spread(pauses.map(({ longFirstTokenMs }) => longFirstTokenMs)),
    ratio: spread(gaps(pauses).map((gap, index) => gap / (whole[index] ?? NaN))),
  }));
  for (const finding of findings) report.line(finding);
  const cell = ({ median, min, max }: Spread): string => `${median} (${min}–${max})`;
  report.table([
    ['token budget', 'worst gap, ms', '÷ unchunked', 'first token of the long prompt, ms'],
    ...findings.map((each) => [
      each.maxNumBatchedTokens === UNCHUNKED ? 'unchunked' : each.maxNumBatchedTokens,
      cell(each.worstGapMs),
      `**${each.ratio.median}** (${each.ratio.min}–${each.ratio.max})`,
      cell(each.longFirstTokenMs),
    ]),
  ]);
  report.plot('Worst pause of eight replies while 2,000 tokens prefill', 'milliseconds', [
    {
      title: 'token budget of a step',
      bars: findings.map(({ maxNumBatchedTokens, worstGapMs }) => ({
        label: maxNumBatchedTokens === UNCHUNKED ? 'unchunked' : String(maxNumBatchedTokens),
        value: worstGapMs.median,
        range: [worstGapMs.min, worstGapMs.max] as const,
        isOurs: maxNumBatchedTokens !== UNCHUNKED,
      })),
    },
  ]);
}

async function measure({ engine }: OpenEngine, seed: number): Promise<Pause> {
  let arrivedAt = NaN;
  const long: Promise<Generation>[] = [];
  let numTokens = 0;
  const replies = await Promise.all(
    Array.from({ length: NUM_DECODING }, (_, index) =>
      generate(engine, promptOf(seed + index, 32), REPLY_TOKENS, {
        onToken: () => {
          // All replies are under way: the long prompt comes.
          if (++numTokens < 4 * NUM_DECODING || long.length > 0) return;
          arrivedAt = performance.now();
          long.push(generate(engine, promptOf(seed + 50, LONG_PROMPT), 1));
        },
      }),
    ),
  );
  const startedAt = (await Promise.all(long))[0]?.times[0] ?? NaN;
  const gaps = replies.flatMap(({ times }) =>
    times.flatMap((time, index) => {
      const previous = times[index - 1];
      const isBeside = previous !== undefined && time > arrivedAt && previous < startedAt;
      return isBeside ? [time - previous] : [];
    }),
  );
  return { worstGapMs: Math.max(...gaps), longFirstTokenMs: startedAt - arrivedAt };
}
