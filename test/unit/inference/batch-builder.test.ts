import { buildBatch } from '../../../inference/batch-builder.ts';
import { Sequence } from '../../../inference/sequence.ts';
import { GREEDY, sequenceRequest } from '../../helpers/engine-runs.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };

describe('buildBatch', () => {
  it('flattens a chunk of a prompt, the end of one, and a decoding sequence', () => {
    const chunk = new Sequence(sequenceRequest([10, 11, 12, 13, 14, 15]), silent, 0);
    chunk.appendBlocks([7, 2]);
    chunk.numComputedTokens = 2;
    const end = new Sequence(
      sequenceRequest([20, 21], {
        sampling: { temperature: 0.5, topP: 0.25, topK: 40, seed: 4_000_000_000 },
      }),
      silent,
      1,
    );
    end.appendBlocks([5]);
    const decoding = new Sequence(
      sequenceRequest([30, 31, 32, 33], { outputTokenIds: [34, 35, 36, 37, 38] }),
      silent,
      2,
    );
    decoding.appendBlocks([0, 9, 1]);
    decoding.numComputedTokens = 8;

    const { batch, sampled } = buildBatch(
      [
        { sequence: chunk, numTokens: 3 },
        { sequence: end, numTokens: 2 },
        { sequence: decoding, numTokens: 1 },
      ],
      4,
    );

    expect(sampled.map(({ sequence }) => sequence)).toEqual([end, decoding]);
    expect(batch).toEqual({
      tokenIds: Int32Array.of(12, 13, 14, 20, 21, 38),
      positions: Int32Array.of(2, 3, 4, 0, 1, 8),
      slots: Int32Array.of(30, 31, 8, 20, 21, 4),
      queryStarts: Int32Array.of(0, 3, 5, 6),
      contextLens: Int32Array.of(5, 2, 9),
      blockTables: Int32Array.of(7, 2, -1, 5, -1, -1, 0, 9, 1),
      maxBlocks: 3,
      sampleRows: Int32Array.of(4, 5),
      temperatures: Float32Array.of(0.5, 0),
      topPs: Float32Array.of(0.25, 1),
      topKs: Int32Array.of(40, 0),
      seeds: Uint32Array.of(4_000_000_000, 1),
    });
  });

  it('sends min-p, adjustments and logprobs where a sampled sequence uses them, the neutral value to those beside it', () => {
    const all = [
      sequenceRequest([1, 2], {
        outputTokenIds: [4],
        sampling: { ...GREEDY, minP: 0.5, presencePenalty: 1, logprobs: 0 },
      }),
      sequenceRequest([3]),
    ].map((request, index) => {
      const sequence = new Sequence(request, silent, index);
      sequence.appendBlocks([index]);
      return { sequence, numTokens: sequence.tokenIds.length };
    });
    const { batch } = buildBatch(all, 4);
    expect(batch).toMatchObject({
      minPs: Float32Array.of(0.5, 0),
      adjustments: {
        starts: Int32Array.of(0, 1, 1),
        ids: Int32Array.of(4),
        biases: Float32Array.of(0),
        scales: Float32Array.of(1),
        penalties: Float32Array.of(1),
      },
      numLogprobs: Int32Array.of(0, -1),
    });
  });

  it('sends nothing of a sequence that is within its prompt', () => {
    const sampling = { ...GREEDY, minP: 0.5, repetitionPenalty: 2, logprobs: 3 };
    const within = new Sequence(sequenceRequest([1, 2, 3], { sampling }), silent, 0);
    within.appendBlocks([0]);
    expect(buildBatch([{ sequence: within, numTokens: 2 }], 4).batch).toMatchObject({
      minPs: undefined,
      adjustments: undefined,
      numLogprobs: undefined,
    });
  });
});
