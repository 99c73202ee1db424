// llama.cpp by its own llama-batched-bench: a fresh process a run, its own clock, no sampling in what it measures.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Contender, Measured, Workload } from './contender.ts';
import type { BenchOptions } from './options.ts';

/** One for each build and format that the set-up script made; none when it was not run. */
export function llamaCppContenders({ model, threads, peers }: BenchOptions): Contender[] {
  const folder = join(peers, 'llama-cpp');
  const builds = [
    { build: 'build', suffix: '' },
    { build: 'build-without-amx', suffix: ' (no AMX)' },
  ].filter(({ build }) => existsSync(program(folder, build)));
  const files = [
    { path: model, format: /\.(\w+)\.gguf$/.exec(model)?.[1] ?? 'as given' },
    { path: join(folder, 'model.Q4_0.gguf'), format: 'Q4_0' },
  ].filter(({ path }) => existsSync(path));
  return builds.flatMap(({ build, suffix }) =>
    files.map(({ path, format }) =>
      contender(`llama.cpp ${format}${suffix}`, program(folder, build), path, threads),
    ),
  );
}

const program = (folder: string, build: string): string =>
  join(folder, build, 'bin', 'llama-batched-bench');

function contender(name: string, path: string, model: string, threads: number): Contender {
  return {
    name,
    about: `llama-batched-bench ${version(path)}, ${threads} threads, batch 2048, micro-batch 512`,
    run: (workload) => run(path, model, threads, workload),
    close: () => Promise.resolve(),
  };
}

function version(path: string): string {
  const { stderr, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  return /version: (.*)/.exec(stderr + stdout)?.[1] ?? 'of unknown version';
}

interface Line {
  readonly speed_pp: number;
  readonly speed_tg: number;
}

async function run(
  path: string,
  model: string,
  threads: number,
  { numSeqs, promptTokens, decodeTokens }: Workload,
): Promise<Measured> {
  const isPrefill = decodeTokens === 1;
  const child = spawn(
    path,
    [
      ...['-m', model, '-t', String(threads), '-tb', String(threads)],
      ...['-npp', String(promptTokens), '-ntg', String(decodeTokens)],
      // A prompt is measured the second time: the first touches the memory.
      ...['-npl', isPrefill ? `${numSeqs},${numSeqs}` : String(numSeqs)],
      ...['-c', String(Math.max(1024, numSeqs * (promptTokens + decodeTokens + 16)))],
      ...['--output-format', 'jsonl'],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  let peak: number | null = null;
  const timer = setInterval(() => (peak = peakBytes(child.pid) ?? peak), 50);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(timer));
  const last = output.trim().split('\n').at(-1);
  if (code !== 0 || last === undefined || last === '')
    throw new Error(`llama-batched-bench ended with ${String(code)}`);
  const line = JSON.parse(last) as Line;
  return { tokensPerSecond: isPrefill ? line.speed_pp : line.speed_tg, residentBytes: peak };
}

function peakBytes(pid: number | undefined): number | null {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return null;
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(path, 'utf8'))?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}
