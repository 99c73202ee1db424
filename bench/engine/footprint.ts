// What a loaded engine costs while it does nothing, and how much memory it holds beside its weights and its pool.
import { spread } from '../statistics.ts';
import { generate, openEngine, promptOf } from './engine-run.ts';
import type { OpenEngine } from './engine-run.ts';
import { residentBytes } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const POOL_BYTES = 256 << 20;
const IDLE_MS = 10_000;

const megabytes = (bytes: number | null): number | null =>
  bytes === null ? null : Math.round(bytes / 2 ** 20);

export async function runFootprint(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'footprint');
  const before = residentBytes();
  const open = openEngine(options, {
    maxNumBatchedTokens: 2048,
    maxNumSeqs: 32,
    kvPoolBytes: POOL_BYTES,
  });
  const { weightsBytes, numBlocks, kvBytesPerToken } = open.native.info;
  const poolBytes = numBlocks * open.native.blockSize * kvBytesPerToken;
  const loaded = residentBytes();
  await fillPool(open);
  const filled = residentBytes();
  const idle: number[] = [];
  for (let run = 0; run < 3; run += 1) idle.push(await idlePercent());
  await open.engine.close();
  const ratio = Number(((filled ?? NaN) / (weightsBytes + poolBytes)).toPrecision(3));
  const finding = {
    idleCpuPercent: spread(idle),
    idleMs: IDLE_MS,
    nodeMB: megabytes(before),
    loadedMB: megabytes(loaded),
    filledMB: megabytes(filled),
    weightsMB: megabytes(weightsBytes),
    poolMB: megabytes(poolBytes),
    ratio,
  };
  report.line(finding);
  report.table([
    ['idle CPU', 'RSS: Node alone', 'model loaded', 'pool in use', 'weights + pool', 'ratio'],
    [
      `**${finding.idleCpuPercent.median} %** (${finding.idleCpuPercent.min}–${finding.idleCpuPercent.max})`,
      `${finding.nodeMB ?? '?'} MB`,
      `${finding.loadedMB ?? '?'} MB`,
      `${finding.filledMB ?? '?'} MB`,
      `${finding.weightsMB ?? '?'} + ${finding.poolMB ?? '?'} MB`,
      `**${ratio}**`,
    ],
  ]);
}

/** Every block is written, so that the pool is memory and not only addresses: as many sequences as fill it, all at once. */
async function fillPool({ engine, native }: OpenEngine): Promise<void> {
  const [prompt, output] = [1000, 24];
  const blocks = Math.ceil((prompt + output) / native.blockSize);
  const count = Math.floor(native.numBlocks / blocks);
  await Promise.all(
    Array.from({ length: count }, (_, seed) => generate(engine, promptOf(seed, prompt), output)),
  );
}

/** CPU time of the whole process over a wait, in percent of one core. */
async function idlePercent(): Promise<number> {
  const before = process.cpuUsage();
  const since = performance.now();
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 10 / (performance.now() - since);
}
