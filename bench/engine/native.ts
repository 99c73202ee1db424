// The native half alone, without scheduler or services. Prints JSON lines: the machine, then tokens per second as median
// and range over the runs (`--runs`, or `--pairs`).
import { NativeModel } from '../../inference/native.ts';
import { machine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { SequenceSet } from './sequence-set.ts';

const PREFILL_TOKENS = 512;
const DECODE_STEPS = 48;
const PROMPT_TOKENS = 64;

const report = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** Tokens per second of `run`, which returns how many it made: one warm-up, then the runs. */
async function measure(name: string, runs: number, run: () => Promise<number>): Promise<void> {
  const rates: number[] = [];
  for (let index = 0; index <= runs; index += 1) {
    const since = performance.now();
    const tokens = await run();
    if (index > 0) rates.push((tokens / (performance.now() - since)) * 1000);
  }
  rates.sort((a, b) => a - b);
  const at = (index: number): number => Math.round((rates[index] ?? NaN) * 10) / 10;
  report({
    bench: name,
    tokensPerSecond: at(Math.floor(rates.length / 2)),
    min: at(0),
    max: at(rates.length - 1),
    runs: rates.length,
  });
}

export async function runNative({
  model: path,
  threads,
  arithmetic,
  kernels,
  pairs,
}: BenchOptions): Promise<void> {
  const model = new NativeModel({ path, kvPoolBytes: 512 << 20, threads, arithmetic, kernels });
  report({
    bench: 'native',
    model: model.info.name,
    arithmetic: model.info.arithmetic,
    kernels: model.info.kernels,
    threads: model.info.threads,
    ...machine(),
  });
  await measure(`prefill ${PREFILL_TOKENS}`, pairs, async () => {
    await new SequenceSet(model, 1).prefill(PREFILL_TOKENS);
    return PREFILL_TOKENS;
  });
  for (const numSeqs of [1, 8, 32]) {
    const sequences = new SequenceSet(model, numSeqs);
    await measure(`decode ${numSeqs}`, pairs, async () => {
      // The prompt is prefilled in the warm-up only; each run decodes anew from its end.
      if (sequences.length === 0) await sequences.prefill(PROMPT_TOKENS);
      sequences.rewind(PROMPT_TOKENS);
      for (let step = 0; step < DECODE_STEPS; step += 1) await sequences.decode();
      return numSeqs * DECODE_STEPS;
    });
  }
  model.close();
}
