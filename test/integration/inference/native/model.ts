// The weights that the tests of the addon need, and sequences that run on them.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ForwardBatch } from '../../../../inference/forward-batch.ts';
import { BLOCK_SIZE, NativeModel } from '../../../../inference/native.ts';
import type { Arithmetic } from '../../../../inference/addon.ts';
import type { LoadOptions } from '../../../../inference/native.ts';

const ROOT = join(__dirname, '..', '..', '..', '..');
const FIXTURES = join(ROOT, 'test', 'fixtures', 'model');
const HOME = process.env['COLLOQUY_HOME'] ?? join(ROOT, '.colloquy');

export const MODEL_PATH =
  process.env['COLLOQUY_TEST_MODEL'] ?? join(HOME, 'models', 'SmolLM2-135M-Instruct.Q4_1.gguf');

/** Describes tests that need the weights; without them each is skipped by name. */
export const describeWithModel = (name: string, tests: () => void): void =>
  existsSync(MODEL_PATH)
    ? describe(name, tests)
    : describe.skip(
        `${name} (skipped: no weights at ${MODEL_PATH}; npm start fetches them)`,
        tests,
      );

export function loadModel(options: Partial<LoadOptions> = {}): NativeModel {
  return new NativeModel({ path: MODEL_PATH, kvPoolBytes: 64 << 20, threads: 1, ...options });
}

/** The model with a kernel set by name, or null where this processor has not its instructions. Every one has the scalar set. */
export function loadWithKernels(
  kernels: string,
  arithmetic: Arithmetic = 'blocks',
): NativeModel | null {
  try {
    return loadModel({ arithmetic, kernels, threads: 2 });
  } catch (error) {
    expect([kernels, String(error)]).toEqual([
      expect.not.stringMatching('scalar'),
      expect.stringContaining('no kernels named'),
    ]);
    return null;
  }
}

export function readFixture<Content>(name: string): Content {
  return JSON.parse(readFileSync(join(FIXTURES, name), 'utf8')) as Content;
}

export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: number;
}

export const GREEDY: Sampling = { temperature: 0, topP: 1, topK: 0, seed: 0 };

/** A sequence with blocks of its own; `computed` tokens of it are in the KV pool. */
export class TestSequence {
  readonly ids: number[];
  readonly blocks: readonly number[];
  readonly sampling: Sampling;
  computed = 0;

  /** @param blocks enough of them for every token the test will add */
  constructor(ids: readonly number[], blocks: readonly number[], sampling = GREEDY) {
    this.ids = [...ids];
    this.blocks = blocks;
    this.sampling = sampling;
  }

  get numPending(): number {
    return this.ids.length - this.computed;
  }
}

/** `count` block ids from `first` on. */
export const blocks = (first: number, count = 8): number[] =>
  Array.from({ length: count }, (_, index) => first + index);

/** Ids that depend on `seed` only, none of them a control token. */
export const tokenIds = (seed: number, length: number): number[] =>
  Array.from({ length }, (_, index) => 100 + ((seed * 7919 + index * 104_729) % 40_000));

/** The batch of `count` pending tokens of each sequence, the last of each sampled. */
export function batchOf(
  parts: readonly { readonly sequence: TestSequence; readonly count: number }[],
): ForwardBatch {
  const rows = parts.flatMap(({ sequence, count }) =>
    sequence.ids
      .slice(sequence.computed, sequence.computed + count)
      .map((id, index) => ({ id, sequence, position: sequence.computed + index })),
  );
  const ends = parts.map((_, index) =>
    parts.slice(0, index + 1).reduce((sum, { count }) => sum + count, 0),
  );
  const maxBlocks = Math.max(...parts.map(({ sequence }) => sequence.blocks.length));
  const samplings = parts.map(({ sequence }) => sequence.sampling);
  return {
    tokenIds: Int32Array.from(rows, ({ id }) => id),
    positions: Int32Array.from(rows, ({ position }) => position),
    slots: Int32Array.from(
      rows,
      ({ sequence, position }) =>
        (sequence.blocks[Math.floor(position / BLOCK_SIZE)] ?? -1) * BLOCK_SIZE +
        (position % BLOCK_SIZE),
    ),
    queryStarts: Int32Array.from([0, ...ends]),
    contextLens: Int32Array.from(parts, ({ sequence, count }) => sequence.computed + count),
    blockTables: Int32Array.from(
      parts.flatMap(({ sequence }) =>
        Array.from({ length: maxBlocks }, (_, index) => sequence.blocks[index] ?? -1),
      ),
    ),
    maxBlocks,
    sampleRows: Int32Array.from(ends, (end) => end - 1),
    temperatures: Float32Array.from(samplings, ({ temperature }) => temperature),
    topPs: Float32Array.from(samplings, ({ topP }) => topP),
    topKs: Int32Array.from(samplings, ({ topK }) => topK),
    seeds: Uint32Array.from(samplings, ({ seed }) => seed),
  };
}

/** One step; every sequence moves on by its count, and those with nothing pending get the sampled token. */
export async function step(
  model: NativeModel,
  parts: readonly { readonly sequence: TestSequence; readonly count: number }[],
): Promise<Float32Array[]> {
  const { sampledIds, logits } = await model.forwardWithLogits(batchOf(parts));
  parts.forEach(({ sequence, count }, index) => {
    sequence.computed += count;
    if (sequence.numPending === 0) sequence.ids.push(sampledIds[index] ?? -1);
  });
  return parts.map((_, index) =>
    logits.subarray(index * model.vocabSize, (index + 1) * model.vocabSize),
  );
}

/** Runs the prompt at once and then token by token; the tokens made. */
export async function generate(
  model: NativeModel,
  sequence: TestSequence,
  numTokens: number,
): Promise<number[]> {
  const promptLength = sequence.ids.length;
  while (sequence.ids.length < promptLength + numTokens)
    await step(model, [{ sequence, count: sequence.numPending }]);
  return sequence.ids.slice(promptLength);
}

/** Σ (a − b)² / Σ b² */
export function normalisedError(actual: readonly number[], expected: readonly number[]): number {
  const squares = expected.reduce((sum, value) => sum + value * value, 0);
  return (
    expected.reduce((sum, value, index) => sum + ((actual[index] ?? NaN) - value) ** 2, 0) / squares
  );
}
