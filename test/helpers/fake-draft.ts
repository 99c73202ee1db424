// The draft model of the fake executor: it says what the fake model says, but for the guesses that it is told to get wrong.
import type { DraftExecutor, ForwardBatch } from '../../inference/forward-batch.ts';
import type { FakeExecutor } from './fake-executor.ts';

export interface FakeDraftOptions {
  readonly numBlocks: number;
  readonly contextLength?: number;
  /** Whether the guess for a position is not what the fake model says; left out = never. */
  readonly isWrong?: (position: number) => boolean;
}

export class FakeDraft implements DraftExecutor {
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly contextLength: number;
  readonly batches: ForwardBatch[] = [];
  /** Set to make the next call fail. */
  nextError: Error | null = null;
  readonly #isWrong: (position: number) => boolean;
  readonly #memory: FakeExecutor;
  readonly #begin: (end: () => void) => void;

  /**
   * @param memory its own pool and the rules of a batch
   * @param begin runs `end` when the executor's step would be done; throws while another is under way
   */
  constructor(
    { isWrong = () => false }: FakeDraftOptions,
    memory: FakeExecutor,
    begin: (end: () => void) => void,
  ) {
    this.numBlocks = memory.numBlocks;
    this.blockSize = memory.blockSize;
    this.contextLength = memory.contextLength;
    this.#isWrong = isWrong;
    this.#memory = memory;
    this.#begin = begin;
  }

  propose(
    batch: ForwardBatch,
    counts: Uint32Array,
    callback: (error: Error | null, guesses: Int32Array | null) => void,
  ): void {
    this.batches.push(batch);
    this.#begin(() => {
      const error = this.nextError;
      this.nextError = null;
      if (error !== null) {
        callback(error, null);
        return;
      }
      try {
        callback(null, Int32Array.from(this.#guess(batch, counts)));
      } catch (broken) {
        callback(broken as Error, null);
      }
    });
  }

  #guess(batch: ForwardBatch, counts: Uint32Array): number[] {
    const guesses = Array.from(counts, (): number[] => []);
    const guessing = [...counts.keys()].filter((seq) => (counts[seq] ?? 0) > 0);
    const lastRows = guessing.map((seq) => (batch.queryStarts[seq + 1] ?? 0) - 1);
    if (lastRows.join() !== batch.sampleRows.join()) throw new Error('other rows are sampled');
    let step = batch;
    let sampled = guessing;
    while (true) {
      const outcome = this.#memory.compute(step);
      if ('error' in outcome) throw outcome.error;
      for (const [sample, seq] of sampled.entries()) {
        const right = outcome.sampledIds?.[sample] ?? 0;
        const position = (step.positions[step.sampleRows[sample] ?? 0] ?? 0) + 1;
        const id = this.#isWrong(position) ? (right + 1) % this.#memory.vocabSize : right;
        guesses[seq]?.push(id);
      }
      const going = [...sampled.keys()].filter((sample) => {
        const seq = sampled[sample] ?? 0;
        return (guesses[seq]?.length ?? 0) < (counts[seq] ?? 0);
      });
      if (going.length === 0) return guesses.flat();
      const ids = going.map((sample) => guesses[sampled[sample] ?? 0]?.at(-1) ?? 0);
      step = this.#nextStep(step, going, ids);
      sampled = going.map((sample) => sampled[sample] ?? 0);
    }
  }

  /** One row for each of these samples of a step. */
  #nextStep(step: ForwardBatch, samples: readonly number[], ids: readonly number[]): ForwardBatch {
    const rows = samples.map((sample) => step.sampleRows[sample] ?? 0);
    const positions = rows.map((row) => (step.positions[row] ?? 0) + 1);
    const tables = rows.map((row) => {
      const seq = step.queryStarts.findIndex((start) => start > row) - 1;
      return [...step.blockTables.subarray(seq * step.maxBlocks, (seq + 1) * step.maxBlocks)];
    });
    const ends = step.adjustments?.starts ?? new Int32Array();
    const entries = samples.map((sample) => [ends[sample] ?? 0, ends[sample + 1] ?? 0] as const);
    const pick = <Values extends Float32Array | Int32Array>(values: Values): number[] =>
      entries.flatMap(([first, end]) => [...values.subarray(first, end)]);
    const starts = [0];
    for (const [first, end] of entries) starts.push((starts.at(-1) ?? 0) + end - first);
    return {
      tokenIds: Int32Array.from(ids),
      positions: Int32Array.from(positions),
      slots: Int32Array.from(
        positions,
        (position, index) =>
          (tables[index]?.[Math.floor(position / this.blockSize)] ?? -1) * this.blockSize +
          (position % this.blockSize),
      ),
      queryStarts: Int32Array.from([...samples.keys(), samples.length]),
      contextLens: Int32Array.from(positions, (position) => position + 1),
      blockTables: Int32Array.from(tables.flat()),
      maxBlocks: step.maxBlocks,
      sampleRows: Int32Array.from(samples.keys()),
      temperatures: Float32Array.from(samples, (sample) => step.temperatures[sample] ?? 0),
      topPs: Float32Array.from(samples, (sample) => step.topPs[sample] ?? 1),
      topKs: Int32Array.from(samples, (sample) => step.topKs[sample] ?? 0),
      seeds: Uint32Array.from(samples, (sample) => step.seeds[sample] ?? 0),
      minPs: step.minPs && Float32Array.from(samples, (sample) => step.minPs?.[sample] ?? 0),
      adjustments: step.adjustments && {
        starts: Int32Array.from(starts),
        ids: Int32Array.from(pick(step.adjustments.ids)),
        biases: Float32Array.from(pick(step.adjustments.biases)),
        scales: Float32Array.from(pick(step.adjustments.scales)),
        penalties: Float32Array.from(pick(step.adjustments.penalties)),
      },
    };
  }
}
