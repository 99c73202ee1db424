// Perplexity of our engine beside llama-perplexity: same file, same text, windows of 512 tokens, the second half of each
// predicted. The texts are this repository's own licence and documents.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NativeModel } from '../../inference/native.ts';
import type { KvFormat } from '../../inference/addon.ts';
import { logitsOf, surprise } from './native-rows.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const WINDOW = 512;
const HALF = WINDOW / 2;
/** Windows of a text at most: the vocabulary is wide, and each takes a second. */
const MAX_WINDOWS = 24;

const texts = (): [string, string][] => [
  ['LICENSE', readFileSync('LICENSE', 'utf8')],
  [
    'README and docs',
    [
      'README.md',
      ...readdirSync('docs')
        .filter((name) => name.endsWith('.md'))
        .map((name) => join('docs', name)),
    ]
      .map((path) => readFileSync(path, 'utf8'))
      .join('\n'),
  ],
];

export async function runPerplexity(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'perplexity');
  const load = (kvFormat: KvFormat): NativeModel =>
    new NativeModel({
      path: options.model,
      kvPoolBytes: 64 << 20,
      kvFormat,
      threads: options.threads,
      arithmetic: options.arithmetic,
      kernels: options.kernels,
    });
  const [native, inBytes] = [load('f16'), load('q8')];
  const rows: (string | number)[][] = [];
  for (const [name, text] of texts()) {
    const tokenIds = native.encode(text);
    const windows = Math.min(MAX_WINDOWS, Math.floor(tokenIds.length / WINDOW));
    const ours = await perplexity(native, tokenIds, windows);
    const oursInBytes = await perplexity(inBytes, tokenIds, windows);
    const theirs = llamaPerplexity(options, text, windows);
    report.line({
      text: name,
      tokens: tokenIds.length,
      windows,
      predicted: windows * (HALF - 1),
      ours,
      oursInBytes,
      llamaCpp: theirs,
      ratio: ours / theirs,
    });
    rows.push([
      name,
      windows * (HALF - 1),
      ours.toFixed(4),
      theirs.toFixed(4),
      `**${(ours / theirs).toFixed(4)}**`,
      oursInBytes.toFixed(4),
      `**${(oursInBytes / ours).toFixed(4)}**`,
    ]);
  }
  native.close();
  inBytes.close();
  report.table([
    ['text', 'tokens predicted', 'ours', 'llama.cpp', 'ratio', 'ours, q8', 'ratio to f16'],
    ...rows,
  ]);
}

async function perplexity(
  native: NativeModel,
  tokenIds: Int32Array,
  windows: number,
): Promise<number> {
  let sum = 0;
  const rows = Array.from({ length: HALF - 1 }, (_, index) => HALF + index);
  for (let window = 0; window < windows; window += 1) {
    const ids = [...tokenIds.subarray(window * WINDOW, (window + 1) * WINDOW)];
    const logits = await logitsOf(native, ids, rows);
    for (const [index, row] of rows.entries()) {
      const start = index * native.vocabSize;
      sum += surprise(logits.subarray(start, start + native.vocabSize), ids[row + 1] ?? 0);
    }
  }
  return Math.exp(sum / (windows * rows.length));
}

/** @throws when the peer is not set up, or split the text otherwise than we did */
function llamaPerplexity(
  { model, threads, peers, out }: BenchOptions,
  text: string,
  windows: number,
): number {
  const file = join(out, 'perplexity.txt');
  writeFileSync(file, text);
  const program = join(peers, 'llama-cpp', 'build', 'bin', 'llama-perplexity');
  const args = [
    '-m',
    model,
    '-f',
    file,
    '-c',
    String(WINDOW),
    '-b',
    String(WINDOW),
    '-t',
    String(threads),
  ];
  // Its log, and the estimate with it, goes to stderr.
  const { stderr } = spawnSync(program, [...args, '--chunks', String(windows)], {
    encoding: 'utf8',
  });
  const [, estimate] = /Final estimate: PPL = ([\d.]+)/.exec(stderr) ?? [];
  if (estimate === undefined) throw new Error('llama-perplexity gave no estimate');
  return Number(estimate);
}
