// Prompt lookup on Spec-Bench: wall time with and without it, one conversation at a time, and whether the texts are equal.
// The questions are read at run time; reports name categories and counts only.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { chatTemplateOf } from '../../inference/chat-template.ts';
import { quantile, spread } from '../statistics.ts';
import { generate, openEngine } from './engine-run.ts';
import type { OpenEngine } from './engine-run.ts';
import { replay } from './lookup-replay.ts';
import type { BenchOptions } from './options.ts';
import { Report } from './report.ts';

const MAX_TOKENS = 256;
const MAX_PROMPT = 1024;
/** As in config/catalog.yaml. */
const DRAFT_TOKENS = 16;
/** Rows that cost as much as the fixed part of a step, for the replay: from what the kernels before AVX-512 had to nearly free rows. */
const FIXED_ROWS = [3, 6, 12, 30, 60];
/** Questions of each category; the eight small categories count as one, as in the paper. */
const PER_CATEGORY = 8;
const SINGLE_CATEGORIES = ['translation', 'summarization', 'qa', 'math_reasoning', 'rag'];

interface Question {
  readonly category: string;
  readonly text: string;
}

interface Run {
  readonly category: string;
  readonly prompt: readonly number[];
  readonly reply: readonly number[];
  /** With lookup, prompts among them. */
  readonly numSteps: number;
  /** From the request to its end; and from its first token on, where lookup works. */
  readonly offMs: number;
  readonly onMs: number;
  readonly offDecodeMs: number;
  readonly onDecodeMs: number;
  readonly isEqual: boolean;
  readonly distinctPairs: number;
}

export async function runLookup(options: BenchOptions): Promise<void> {
  const report = new Report(options.out, 'lookup');
  const questions = readQuestions(options.data);
  if (questions === null) {
    report.line({ skipped: 'spec-bench.jsonl.gz is absent' });
    return;
  }
  const open = (maxDraftTokens: number): OpenEngine =>
    openEngine(options, {
      maxNumBatchedTokens: 512,
      maxNumSeqs: 8,
      kvPoolBytes: 96 << 20,
      maxDraftTokens,
    });
  const [off, on] = [open(0), open(DRAFT_TOKENS)];
  const template = chatTemplateOf(off.native.info, off.native);
  const runs: Run[] = [];
  for (const { category, text } of questions) {
    const prompt = template.render([{ role: 'user', content: text }]).slice(-MAX_PROMPT);
    const one = await time(off, prompt, template.endId);
    const numStepsBefore = on.engine.stats().numSteps;
    const other = await time(on, prompt, template.endId);
    const numSteps = on.engine.stats().numSteps - numStepsBefore;
    // The first question of all warms both up.
    if (runs.length === 0) {
      await time(off, prompt, template.endId);
      await time(on, prompt, template.endId);
    }
    runs.push({
      category,
      prompt,
      reply: one.tokenIds,
      numSteps,
      offMs: one.ms,
      onMs: other.ms,
      offDecodeMs: one.decodeMs,
      onDecodeMs: other.decodeMs,
      isEqual: one.tokenIds.join() === other.tokenIds.join(),
      distinctPairs: distinctPairs(one.tokenIds),
    });
  }
  const { speculation } = on.engine.stats();
  await Promise.all([off.engine.close(), on.engine.close()]);
  const categories = [...new Set(runs.map(({ category }) => category))];
  const findings = [
    summarise('overall', runs),
    ...categories.map((name) =>
      summarise(
        name,
        runs.filter(({ category }) => category === name),
      ),
    ),
  ];
  for (const finding of findings) report.line(finding);
  report.line({ ...speculation, maxDraftTokens: DRAFT_TOKENS, maxTokens: MAX_TOKENS });
  report.table([
    [
      'category',
      'questions',
      'wall time without ÷ with',
      'after the first token',
      'of each question',
      'tokens a step',
      'equal',
      'distinct pairs',
    ],
    ...findings.map((each) => [
      each.category,
      each.questions,
      `**${each.ratio}**`,
      each.decodeRatio,
      `${each.ratios.median} (${each.ratios.min}–${each.ratios.max})`,
      each.tokensPerStep,
      `${each.equal} of ${each.questions}`,
      each.distinctPairs,
    ]),
  ]);
  replayAt(report, runs, categories);
  report.plot('Prompt lookup: wall time without ÷ with', 'greedy, one sequence at a time', [
    {
      title: 'Spec-Bench category',
      bars: findings.map(({ category, ratio }) => ({
        label: category,
        value: ratio,
        isOurs: category === 'overall',
      })),
    },
  ]);
}

/** The ratio after the first token that the same replies would have with other kernels. */
function replayAt(report: Report, runs: readonly Run[], categories: readonly string[]): void {
  const rows = ['overall', ...categories].map((name) => {
    const replies = runs.filter(({ category }) => name === 'overall' || category === name);
    return FIXED_ROWS.map((fixedRows) => {
      const { ratio, numTokens, numSteps, numRows } = replay(replies, fixedRows, DRAFT_TOKENS);
      const three = (value: number): number => Number(value.toPrecision(3));
      return {
        category: name,
        fixedRows,
        replayedRatio: three(ratio),
        tokensPerStep: three(numTokens / numSteps),
        rowsPerStep: three(numRows / numSteps),
      };
    });
  });
  for (const each of rows.flat()) report.line(each);
  report.table([
    ['replayed: fixed part of a step, in rows', ...FIXED_ROWS],
    ...rows.map((each) => [
      each[0]?.category ?? '',
      ...each.map(
        ({ replayedRatio, tokensPerStep }) => `${replayedRatio} (${tokensPerStep} tokens a step)`,
      ),
    ]),
  ]);
}

interface Finding {
  readonly category: string;
  readonly questions: number;
  /** Of the sums: the whole request, and without its prompt. */
  readonly ratio: number;
  readonly decodeRatio: number;
  readonly ratios: ReturnType<typeof spread>;
  /** Steps over the prompt included. */
  readonly tokensPerStep: number;
  readonly equal: number;
  /** Median share of pairs of neighbours that occur once: a small model that loops makes guessing easy. */
  readonly distinctPairs: number;
}

function summarise(category: string, runs: readonly Run[]): Finding {
  const sum = (of: (run: Run) => number): number =>
    runs.reduce((total, each) => total + of(each), 0);
  return {
    category,
    questions: runs.length,
    ratio: Number((sum(({ offMs }) => offMs) / sum(({ onMs }) => onMs)).toPrecision(3)),
    decodeRatio: Number(
      (sum(({ offDecodeMs }) => offDecodeMs) / sum(({ onDecodeMs }) => onDecodeMs)).toPrecision(3),
    ),
    ratios: spread(runs.map(({ offMs, onMs }) => offMs / onMs)),
    tokensPerStep: Number(
      (sum(({ reply }) => reply.length) / sum(({ numSteps }) => numSteps)).toPrecision(3),
    ),
    equal: runs.filter(({ isEqual }) => isEqual).length,
    distinctPairs: Number(
      quantile(
        runs.map((each) => each.distinctPairs),
        0.5,
      ).toPrecision(2),
    ),
  };
}

async function time(
  { engine }: OpenEngine,
  prompt: readonly number[],
  endId: number,
): Promise<{ ms: number; decodeMs: number; tokenIds: readonly number[] }> {
  const since = performance.now();
  const { tokenIds, times } = await generate(engine, prompt, MAX_TOKENS, {
    stopTokenIds: [endId],
  });
  const end = performance.now();
  return { ms: end - since, decodeMs: end - (times[0] ?? since), tokenIds };
}

function distinctPairs(tokenIds: readonly number[]): number {
  const pairs = tokenIds.slice(1).map((id, index) => `${tokenIds[index]} ${id}`);
  return pairs.length === 0 ? 1 : new Set(pairs).size / pairs.length;
}

function readQuestions(folder: string): Question[] | null {
  const path = join(folder, 'spec-bench.jsonl.gz');
  if (!existsSync(path)) return null;
  const all = gunzipSync(readFileSync(path))
    .toString('utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const { category, turns } = JSON.parse(line) as { category: string; turns: string[] };
      const isSingle = SINGLE_CATEGORIES.includes(category);
      return { category: isSingle ? category : 'multi-turn, first', text: turns[0] ?? '' };
    });
  return [...new Set(all.map(({ category }) => category))].flatMap((name) => {
    const some = all.filter(({ category }) => category === name);
    const step = Math.floor(some.length / PER_CATEGORY);
    return some.filter((_, index) => index % step === 0).slice(0, PER_CATEGORY);
  });
}
