// Sequences of equal length that step together: the smallest driver that keeps a native model busy.
import { BLOCK_SIZE } from '../../inference/native.ts';
import type { NativeModel } from '../../inference/native.ts';

/** Each sequence owns a fixed range of blocks, enough for `MAX_TOKENS`. */
const MAX_TOKENS = 576;
const MAX_BLOCKS = MAX_TOKENS / BLOCK_SIZE;

export class SequenceSet {
  /** Tokens of each sequence that are in the KV pool. */
  length = 0;
  readonly #model: NativeModel;
  readonly #numSeqs: number;

  constructor(model: NativeModel, numSeqs: number) {
    this.#model = model;
    this.#numSeqs = numSeqs;
  }

  /** Runs the first `count` tokens of each sequence, one sequence a step. */
  async prefill(count: number): Promise<void> {
    for (let seq = 0; seq < this.#numSeqs; seq += 1) await this.#step([seq], 0, count);
    this.length = count;
  }

  /** One token of every sequence. */
  async decode(): Promise<void> {
    await this.#step(
      Array.from({ length: this.#numSeqs }, (_, seq) => seq),
      this.length,
      1,
    );
    this.length += 1;
  }

  /** Forgets what is after the first `length` tokens. */
  rewind(length: number): void {
    this.length = Math.min(this.length, length);
  }

  /** `count` tokens from position `first` on, of each of `seqs`; the last of each is sampled greedily. */
  #step(seqs: readonly number[], first: number, count: number): Promise<void> {
    const rows = seqs.flatMap((seq) =>
      Array.from({ length: count }, (_, index) => ({ seq, position: first + index })),
    );
    const batch = {
      tokenIds: Int32Array.from(
        rows,
        ({ seq, position }) => 100 + ((seq * 977 + position * 31) % 40_000),
      ),
      positions: Int32Array.from(rows, ({ position }) => position),
      slots: Int32Array.from(rows, ({ seq, position }) => seq * MAX_TOKENS + position),
      queryStarts: Int32Array.from({ length: seqs.length + 1 }, (_, index) => index * count),
      contextLens: Int32Array.from(seqs, () => first + count),
      blockTables: Int32Array.from(
        seqs.flatMap((seq) =>
          Array.from({ length: MAX_BLOCKS }, (_, block) => seq * MAX_BLOCKS + block),
        ),
      ),
      maxBlocks: MAX_BLOCKS,
      sampleRows: Int32Array.from(seqs, (_, index) => (index + 1) * count - 1),
      temperatures: new Float32Array(seqs.length),
      topPs: new Float32Array(seqs.length).fill(1),
      topKs: new Int32Array(seqs.length),
      seeds: new Uint32Array(seqs.length),
    };
    return new Promise((resolve, reject) => {
      this.#model.forward(batch, (error) => (error === null ? resolve() : reject(error)));
    });
  }
}
