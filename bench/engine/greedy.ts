// Greedy continuations of 100 prompts beside llama.cpp's, token by token. Where the two first differ, the two best logits
// must be nearly equal: both quantise activations, each in its own way. The prompts are questions of Spec-Bench, read at
// run time; reports name counts only.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { spread } from '../statistics.ts';
import { generate, openEngine } from './engine-run.ts';
import type { OpenEngine } from './engine-run.ts';
import { gapOfBest, logitsOf } from './native-rows.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const NUM_PROMPTS = 100;
const NUM_TOKENS = 32;
const MAX_PROMPT = 256;

interface Difference {
  /** Index of the first token that differs. */
  readonly at: number;
  /** Between the two best logits there, by either engine. */
  readonly ourGap: number;
  readonly theirGap: number;
}

export async function runGreedy(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'greedy');
  const questions = readQuestions(options.data);
  if (questions === null) {
    report.line({ skipped: 'spec-bench.jsonl.gz is absent' });
    return;
  }
  const open = openEngine(options, {
    maxNumBatchedTokens: 512,
    maxNumSeqs: 16,
    kvPoolBytes: 128 << 20,
  });
  const prompts = questions.map((text) => [...open.native.encode(text)].slice(0, MAX_PROMPT));
  const ours = await Promise.all(
    prompts.map((prompt) => generate(open.engine, prompt, NUM_TOKENS)),
  );
  const theirs = llamaGreedy(options, prompts);
  const differences: Difference[] = [];
  for (const [index, { tokenIds }] of ours.entries()) {
    const difference = await firstDifference(
      open,
      prompts[index] ?? [],
      tokenIds,
      theirs[index] ?? [],
    );
    if (difference !== null) differences.push(difference);
  }
  await open.engine.close();
  const gaps = differences.map(({ ourGap }) => ourGap);
  const everywhere = theirs.flat().map(({ gap }) => gap);
  const finding = {
    prompts: prompts.length,
    tokensEach: NUM_TOKENS,
    identical: prompts.length - differences.length,
    ourGapAtFirstDifference: gaps.length === 0 ? null : spread(gaps),
    theirGapAtFirstDifference:
      gaps.length === 0 ? null : spread(differences.map(({ theirGap }) => theirGap)),
    gapsSorted: gaps.map((gap) => Number(gap.toFixed(3))).sort((a, b) => a - b),
    positions: differences.map(({ at }) => at).sort((a, b) => a - b),
    gapAtAnyToken: spread(everywhere),
  };
  report.line(finding);
  const below = (limit: number): number => gaps.filter((gap) => gap < limit).length;
  report.table([
    [
      'prompts',
      'identical',
      'differ',
      'gap < 0.1',
      '< 0.25',
      '< 0.5',
      'greatest',
      'median gap of all tokens',
    ],
    [
      prompts.length,
      finding.identical,
      differences.length,
      below(0.1),
      below(0.25),
      `**${below(0.5)}**`,
      gaps.length === 0 ? '–' : Math.max(...gaps).toFixed(3),
      finding.gapAtAnyToken.median,
    ],
  ]);
}

function readQuestions(folder: string): string[] | null {
  const path = join(folder, 'spec-bench.jsonl.gz');
  if (!existsSync(path)) return null;
  const lines = gunzipSync(readFileSync(path)).toString('utf8').trim().split('\n');
  const step = Math.floor(lines.length / NUM_PROMPTS);
  return Array.from({ length: NUM_PROMPTS }, (_, index) => {
    const { turns } = JSON.parse(lines[index * step] ?? '') as { turns: string[] };
    return turns[0] ?? '';
  });
}

interface TheirToken {
  readonly id: number;
  readonly gap: number;
}

/** @throws when the peer is not set up */
function llamaGreedy(
  { model, threads, peers }: BenchOptions,
  prompts: readonly (readonly number[])[],
): TheirToken[][] {
  const input = prompts.map((ids) => `${NUM_TOKENS} ${ids.join(' ')}\n`).join('');
  const program = join(peers, 'llama-cpp', 'build', 'greedy');
  const { stdout, status } = spawnSync(program, [model, String(threads)], {
    input,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) throw new Error(`llama.cpp's greedy program ended with ${String(status)}`);
  return stdout
    .trim()
    .split('\n')
    .map((line) =>
      line.split(' ').map((token) => {
        const [id = NaN, gap = NaN] = token.split(':').map(Number);
        return { id, gap };
      }),
    );
}

async function firstDifference(
  { native }: OpenEngine,
  prompt: readonly number[],
  ours: readonly number[],
  theirs: readonly TheirToken[],
): Promise<Difference | null> {
  const at = theirs.findIndex(({ id }, index) => id !== ours[index]);
  if (at < 0) return null;
  const ids = [...prompt, ...ours.slice(0, at)];
  const logits = await logitsOf(native, ids, [ids.length - 1]);
  return { at, ourGap: gapOfBest(logits), theirGap: theirs[at]?.gap ?? NaN };
}
