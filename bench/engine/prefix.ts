// The prefix cache, on and off in one engine, A B A B: time to the first token when 95 % of a prompt is known, over ten
// turns of a chat, and the CPU time of a cached token beside a computed one. Off = a request without a cache scope.
import { spread } from '../statistics.ts';
import type { Spread } from '../statistics.ts';
import { generate, openEngine, promptOf } from './engine-run.ts';
import type { OpenEngine } from './engine-run.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const PROMPT = 1024;
const SHARED = Math.round(PROMPT * 0.95);
const CHAT = { turns: 10, system: 256, user: 48, reply: 48 };
const LONG = 2048;
const TAIL = 16;
const CPU_REPEATS = 10;

/** Each run is a tenant of its own, so that nothing of another run is found. */
const scopeOf = (run: string | null): { tenant: string; numSharedTokens: number } | null =>
  run === null ? null : { tenant: run, numSharedTokens: 0 };

export async function runPrefix(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'prefix');
  const open = openEngine(options, {
    maxNumBatchedTokens: 512,
    maxNumSeqs: 8,
    kvPoolBytes: 256 << 20,
  });
  await generate(open.engine, promptOf(1, 256), 8);
  const shared = await pairs(options.pairs, (run, seed) => sharedPrompt(open, run, seed));
  const chat = await pairs(options.pairs, (run, seed) => chatTurns(open, run, seed));
  const cpu: { computed: number; cached: number }[] = [];
  for (let pair = 0; pair < options.pairs; pair += 1) cpu.push(await cpuPerToken(open, pair));
  await open.engine.close();
  const cpuRatio = spread(cpu.map(({ computed, cached }) => cached / computed));
  const computedMicros = spread(cpu.map(({ computed }) => computed));
  report.line({ bench: 'shared', prompt: PROMPT, sharedTokens: SHARED, ...shared });
  report.line({ bench: 'chat', ...CHAT, ...chat });
  report.line({ bench: 'cpu', cpuRatio, computedMicrosPerToken: computedMicros });
  const row = (name: string, { off, on, saved }: Pairs): string[] => [
    name,
    `${off.median} ms`,
    `${on.median} ms`,
    `**−${saved.median} %** (${saved.min}–${saved.max})`,
  ];
  report.table([
    ['measure', 'without', 'with the cache', 'difference'],
    row(`first token, ${SHARED} of ${PROMPT} tokens known`, shared),
    row('first tokens of turns 2–10 of a chat, summed', chat),
    [
      'CPU of a prompt token',
      `${computedMicros.median} µs`,
      `${Number((computedMicros.median * cpuRatio.median).toPrecision(3))} µs`,
      `**${cpuRatio.median}** × (${cpuRatio.min}–${cpuRatio.max})`,
    ],
  ]);
  const bars = ({ off, on }: Pairs): { label: string; value: number; isOurs: boolean }[] => [
    { label: 'without the cache', value: off.median, isOurs: false },
    { label: 'with it', value: on.median, isOurs: true },
  ];
  report.plot('Time to the first token', 'milliseconds, median', [
    { title: `${SHARED} of ${PROMPT} tokens known`, bars: bars(shared) },
    { title: 'turns 2–10 of a chat, summed', bars: bars(chat) },
  ]);
}

interface Pairs {
  readonly off: Spread;
  readonly on: Spread;
  /** Percent of `off`, pair by pair. */
  readonly saved: Spread;
}

/** @param measure ms of a run under a tenant's name, or without the cache */
async function pairs(
  count: number,
  measure: (run: string | null, seed: number) => Promise<number>,
): Promise<Pairs> {
  const [off, on]: [number[], number[]] = [[], []];
  for (let pair = 0; pair < count; pair += 1) {
    off.push(await measure(null, pair));
    on.push(await measure(`pair ${pair}`, pair));
  }
  const saved = on.map((time, index) => 100 * (1 - time / (off[index] ?? NaN)));
  return { off: spread(off), on: spread(on), saved: spread(saved) };
}

async function firstTokenMs(
  { engine }: OpenEngine,
  prompt: readonly number[],
  run: string | null,
): Promise<number> {
  const since = performance.now();
  const { times } = await generate(engine, prompt, 1, { cacheScope: scopeOf(run) });
  return (times[0] ?? NaN) - since;
}

async function sharedPrompt(open: OpenEngine, run: string | null, seed: number): Promise<number> {
  const common = promptOf(1000 + seed, SHARED);
  const own = (index: number): number[] => promptOf(2000 + 2 * seed + index, PROMPT - SHARED);
  await firstTokenMs(open, [...common, ...own(0)], run);
  return await firstTokenMs(open, [...common, ...own(1)], run);
}

async function chatTurns(open: OpenEngine, run: string | null, seed: number): Promise<number> {
  let history = promptOf(3000 + seed, CHAT.system);
  let total = 0;
  for (let turn = 0; turn < CHAT.turns; turn += 1) {
    history = [...history, ...promptOf(4000 + 100 * seed + turn, CHAT.user)];
    const since = performance.now();
    const { times, tokenIds } = await generate(open.engine, history, CHAT.reply, {
      cacheScope: scopeOf(run),
    });
    if (turn > 0) total += (times[0] ?? NaN) - since;
    history = [...history, ...tokenIds];
  }
  return total;
}

/** CPU microseconds of one prompt token, computed and found in the cache. All threads of the process count. */
async function cpuPerToken(
  open: OpenEngine,
  pair: number,
): Promise<{ computed: number; cached: number }> {
  const prompt = (index: number): number[] => promptOf(5000 + pair * 100 + index, LONG);
  const tail = (index: number): number[] => promptOf(6000 + pair * 100 + index, TAIL);
  const run = `cpu ${pair}`;
  const whole = await cpuMicros(1, () => firstTokenMs(open, prompt(0), run));
  const known = prompt(0).slice(0, LONG - TAIL);
  const withCached = await cpuMicros(CPU_REPEATS, (index) =>
    firstTokenMs(open, [...known, ...tail(index)], run),
  );
  const tailAlone = await cpuMicros(CPU_REPEATS, (index) =>
    firstTokenMs(open, tail(index + 50), run),
  );
  return { computed: whole / LONG, cached: (withCached - tailAlone) / (LONG - TAIL) };
}

/** CPU microseconds of one call, over several. */
async function cpuMicros(
  repeats: number,
  call: (index: number) => Promise<unknown>,
): Promise<number> {
  const before = process.cpuUsage();
  for (let index = 0; index < repeats; index += 1) await call(index);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / repeats;
}
