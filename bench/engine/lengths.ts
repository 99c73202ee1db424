// Lengths of requests: drawn by a seed, or read from the trace at run time.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { randomNumbers } from '../random-numbers.ts';

export interface RequestLengths {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** Outputs exponential with this mean, capped at four times it; prompts all alike. */
export function exponentialLengths(
  count: number,
  seed: number,
  { promptTokens, meanOutput }: { promptTokens: number; meanOutput: number },
): RequestLengths[] {
  const random = randomNumbers(seed);
  return Array.from({ length: count }, () => ({
    promptTokens,
    outputTokens: clamp(-meanOutput * Math.log(1 - random()), 1, 4 * meanOutput),
  }));
}

/**
 * Prompts and outputs lognormal, each by its mean and coefficient of variation; together at most `maxTokens`. With the
 * means of ShareGPT in the PagedAttention paper (161 and 338, arXiv 2309.06180) its shape is assumed, not measured.
 */
export function lognormalLengths(
  count: number,
  seed: number,
  {
    prompt,
    output,
    variation,
    maxTokens,
  }: {
    prompt: number;
    output: number;
    variation: number;
    maxTokens: number;
  },
): RequestLengths[] {
  const random = randomNumbers(seed);
  const sigma = Math.sqrt(Math.log(1 + variation ** 2));
  const draw = (mean: number): number => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return mean * Math.exp(sigma * normal - sigma ** 2 / 2);
  };
  return Array.from({ length: count }, () => {
    const promptTokens = clamp(draw(prompt), 1, maxTokens - 1);
    return { promptTokens, outputTokens: clamp(draw(output), 1, maxTokens - promptTokens) };
  });
}

/**
 * Consecutive requests of the Azure conversation trace, both lengths divided by `scale`, the prompt cut so that both fit
 * `maxTokens`. Null when the trace is absent.
 */
export function azureLengths(
  folder: string,
  {
    first,
    count,
    scale,
    maxTokens,
  }: {
    first: number;
    count: number;
    scale: number;
    maxTokens: number;
  },
): RequestLengths[] | null {
  const path = join(folder, 'azure-conv-trace.csv.gz');
  if (!existsSync(path)) return null;
  const rows = gunzipSync(readFileSync(path)).toString('utf8').trim().split('\n').slice(1);
  return rows.slice(first, first + count).map((row) => {
    const [, context = NaN, generated = NaN] = row.split(',').map(Number);
    const outputTokens = clamp(generated / scale, 1, maxTokens / 2);
    return { promptTokens: clamp(context / scale, 1, maxTokens - outputTokens), outputTokens };
  });
}

const clamp = (value: number, low: number, high: number): number =>
  Math.round(Math.min(high, Math.max(low, value)));
