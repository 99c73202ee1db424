// Compiles and runs roofline.rs: what the machine can read and multiply at most, the measure of every share below.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

export interface Roofline {
  readonly threads: number;
  /** Reading as many bytes as the model has weights, again and again: from cache where the cache holds them. */
  readonly weightsReadGBps: number;
  /** Reading 1 GiB. */
  readonly streamReadGBps: number;
  /** The widest dot product of the vector unit, and what it does in registers. */
  readonly int8Kernel: string;
  readonly int8GOPS: number;
  /** Of the tile unit; null without one. */
  readonly amxGOPS: number | null;
}

/** A neighbour on the machine can only lower a pass: the best one counts. */
const PASSES = 3;

/** @throws when rustc is absent: the addon needs it too */
export function measureRoofline({ model, threads, out }: BenchOptions): Roofline {
  const program = join(out, 'roofline');
  const source = resolve('bench', 'engine', 'roofline.rs');
  execFileSync('rustc', ['--edition=2021', '-O', '-Ctarget-cpu=native', source, '-o', program]);
  const megabytes = Math.round(statSync(model).size / 2 ** 20);
  const passes = Array.from({ length: PASSES }, () => {
    const args = [String(threads), String(megabytes)];
    return JSON.parse(execFileSync(program, args, { encoding: 'utf8' })) as Roofline;
  });
  const best = (of: (pass: Roofline) => number): number => Math.max(...passes.map(of));
  return {
    threads,
    weightsReadGBps: best((pass) => pass.weightsReadGBps),
    streamReadGBps: best((pass) => pass.streamReadGBps),
    int8Kernel: passes[0]?.int8Kernel ?? '',
    int8GOPS: best((pass) => pass.int8GOPS),
    amxGOPS: passes[0]?.amxGOPS == null ? null : best((pass) => pass.amxGOPS ?? 0),
  };
}

export function runRoofline(options: BenchOptions): void {
  const report = new Report(options.out, 'roofline');
  const found = measureRoofline(options);
  report.line({ ...found });
  report.table([
    ['measure', 'value'],
    ['read, as many bytes as the weights', `${found.weightsReadGBps} GB/s`],
    ['read, 1 GiB', `${found.streamReadGBps} GB/s`],
    [`int8, ${found.int8Kernel}`, `${found.int8GOPS} GOPS`],
    ['int8, AMX tiles', found.amxGOPS === null ? 'none' : `${found.amxGOPS} GOPS`],
  ]);
}
