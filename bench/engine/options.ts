// What every engine bench is told: which model, how many threads, how many pairs, where the report goes.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { ArithmeticChoice, KvFormat } from '../../inference/addon.ts';

export interface BenchOptions {
  /** A GGUF file. */
  readonly model: string;
  readonly threads: number;
  /** Interleaved pairs (A B A B …) of each comparison. */
  readonly pairs: number;
  readonly arithmetic: ArithmeticChoice;
  /** A kernel set by name; empty = the widest this machine has. */
  readonly kernels: string;
  readonly kvFormat: KvFormat;
  /** Folder of the JSON lines, the table and the plot; it exists. */
  readonly out: string;
  /** What the set-up scripts of bench/peers left. */
  readonly peers: string;
  /** Data sets that are read at run time and never copied. */
  readonly data: string;
  /** For comparisons with peers: only these; empty = all. */
  readonly only: readonly string[];
}

export const home = (): string => resolve(process.env['COLLOQUY_HOME'] ?? '.colloquy');

/** @param args the command line without the bench's name */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      model: { type: 'string' },
      threads: { type: 'string', default: '2' },
      pairs: { type: 'string', default: '5' },
      /** The native bench's word for the same. */
      runs: { type: 'string' },
      arithmetic: { type: 'string', default: 'blocks' },
      kernels: { type: 'string', default: '' },
      kv: { type: 'string', default: 'f16' },
      out: { type: 'string', default: join(home(), 'bench') },
      only: { type: 'string', default: '' },
    },
  });
  mkdirSync(values.out, { recursive: true });
  return {
    model: resolve(
      values.model ?? positionals[0] ?? join(home(), 'models', 'SmolLM2-135M-Instruct.Q4_1.gguf'),
    ),
    threads: Number(values.threads),
    pairs: Number(values.runs ?? values.pairs),
    arithmetic: values.arithmetic as ArithmeticChoice,
    kernels: values.kernels,
    kvFormat: values.kv === 'q8' ? 'q8' : 'f16',
    out: values.out,
    peers: join(home(), 'peers'),
    data: resolve('..', 'shared', 'data'),
    only: values.only.split(',').filter((name) => name !== ''),
  };
}
