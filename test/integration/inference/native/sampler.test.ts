// The native sampler on real logits, against the slow one. Every sample of a step is of the same row, so that one pass over
// the weights serves many parameters.
import fc from 'fast-check';
import type { SamplingParams } from '../../../../contracts/engine.ts';
import type { ForwardBatch } from '../../../../inference/forward-batch.ts';
import { flattenAdjustments, LogitAdjustments } from '../../../../inference/logit-adjustments.ts';
import type { NativeModel } from '../../../../inference/native.ts';
import { slowAdjustments } from '../../../helpers/slow-adjustments.ts';
import { adjusted, drawAt, logSoftmax, placesOf } from '../../../helpers/slow-sampler.ts';
import {
  batchOf,
  blocks,
  describeWithModel,
  loadModel,
  loadWithKernels,
  TestSequence,
  tokenIds,
} from './model.ts';

const CONTEXT = [...tokenIds(8, 6), ...tokenIds(8, 3)];
const PROMPT_LENGTH = 4;
/** Rounding to 32 bits moves the end of a token's place by less. */
const NEAR = 1e-4;

/** One step over CONTEXT with a sample of its last row for each of `samplings`. */
function batchFor(samplings: readonly SamplingParams[]): ForwardBatch {
  const sequence = new TestSequence(CONTEXT, blocks(0));
  const rows = samplings.map(
    (sampling) =>
      LogitAdjustments.of(sampling, PROMPT_LENGTH)?.rowAt(CONTEXT, CONTEXT.length) ?? null,
  );
  return {
    ...batchOf([{ sequence, count: CONTEXT.length }]),
    sampleRows: Int32Array.from(samplings, () => CONTEXT.length - 1),
    temperatures: Float32Array.from(samplings, ({ temperature }) => temperature),
    topPs: Float32Array.from(samplings, ({ topP }) => topP),
    topKs: Int32Array.from(samplings, ({ topK }) => topK),
    seeds: Uint32Array.from(samplings, ({ seed }) => seed),
    minPs: Float32Array.from(samplings, ({ minP = 0 }) => minP),
    adjustments: flattenAdjustments(rows),
    numLogprobs: Int32Array.from(samplings, ({ logprobs }) => logprobs ?? -1),
  };
}

function expectNear(actual: number | undefined, expected: number | undefined): void {
  if (Number.isNaN(expected)) expect(actual).toBeNaN();
  else expect(actual).toBeCloseTo(expected ?? NaN, 4);
}

const off = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
  fc.option(value, { nil: undefined });
const between = (min: number, max: number): fc.Arbitrary<number> =>
  fc.double({ min, max, noNaN: true });
const penalty = off(between(-2, 2));
const samplings: fc.Arbitrary<SamplingParams> = fc.record({
  temperature: fc.oneof(fc.constant(0), between(0.05, 3)),
  topP: fc.oneof(fc.constant(1), between(0.01, 1)),
  topK: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2000 })),
  seed: fc.nat(0xffff_ffff),
  minP: off(between(0, 1)),
  repetitionPenalty: off(between(0.1, 2)),
  frequencyPenalty: penalty,
  presencePenalty: penalty,
  logitBias: off(
    fc.uniqueArray(fc.tuple(fc.constantFrom(...CONTEXT, 0, 28, 49_151), between(-100, 100)), {
      selector: ([id]) => id,
      maxLength: 6,
    }),
  ),
  logprobs: fc.option(fc.integer({ min: 0, max: 20 })),
});

describeWithModel('the native sampler', () => {
  let model: NativeModel;
  beforeAll(() => {
    model = loadModel({ threads: 2 });
  });
  afterAll(() => model.close());

  const isRight = (logits: Float32Array, sampling: SamplingParams, id: number): boolean => {
    const all = adjusted(logits, slowAdjustments(sampling, PROMPT_LENGTH, CONTEXT));
    if (sampling.temperature === 0 || sampling.topK === 1)
      return (all[id] ?? NaN) >= Math.max(...all) - NEAR;
    const draw = drawAt(sampling.seed, CONTEXT.length);
    // Rounding may let in, or leave out, a token at the edge of a limit.
    return [1, 1 - 1e-5, 1 + 1e-5].some((factor) => {
      const topP = Math.min(1, sampling.topP * factor);
      const moved = { ...sampling, topP, minP: Math.min(1, (sampling.minP ?? 0) * factor) };
      const place = placesOf(all, moved).find((each) => each.id === id);
      return place !== undefined && place.from - NEAR <= draw && draw <= place.to + NEAR;
    });
  };

  it('draws what the definition says, with every parameter', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(samplings, { minLength: 1, maxLength: 24 }), async (all) => {
        const { sampledIds, logits } = await model.forwardWithLogits(batchFor(all));
        const raw = logits.subarray(0, model.vocabSize);
        for (const [sample, sampling] of all.entries()) {
          const id = sampledIds[sample] ?? -1;
          expect({ id, sampling, isRight: isRight(raw, sampling, id) }).toMatchObject({
            isRight: true,
          });
        }
      }),
      { numRuns: 30 },
    );
  });

  it('gives the logprobs of the raw logits, whatever the parameters do to them', async () => {
    const plain: SamplingParams = { temperature: 0, topP: 1, topK: 0, seed: 1 };
    const all: SamplingParams[] = [
      { ...plain, logprobs: 20 },
      plain,
      { ...plain, logprobs: 0 },
      { ...plain, temperature: 2, repetitionPenalty: 2, logitBias: [[28, 100]], logprobs: 3 },
    ];
    const { sampledIds, logits, logprobs } = await model.forwardWithLogits(batchFor(all));
    expect(sampledIds[3]).toBe(28);
    const expected = logSoftmax(logits.subarray(0, model.vocabSize));
    const best = Array.from(expected.keys())
      .sort((one, other) => (expected[other] ?? NaN) - (expected[one] ?? NaN))
      .slice(0, 20);
    expect(logprobs?.maxTop).toBe(20);
    for (const [sample, { logprobs: asked = null }] of all.entries()) {
      const numTop = asked ?? 0;
      const columns = [sample * 20, sample * 20 + 20] as const;
      const ids = Array.from(logprobs?.topIds.subarray(...columns) ?? []);
      expect(ids).toEqual(best.map((id, at) => (at < numTop ? id : -1)));
      const values = Array.from(logprobs?.topValues.subarray(...columns) ?? []);
      for (const [at, value] of values.entries())
        expectNear(value, at < numTop ? expected[best[at] ?? -1] : NaN);
      expectNear(
        logprobs?.sampled[sample],
        asked === null ? NaN : expected[sampledIds[sample] ?? -1],
      );
    }
    expect((await model.forwardWithLogits(batchFor([plain]))).logprobs).toBeNull();
  });

  it('takes every parameter at its bounds', async () => {
    const bounds: SamplingParams[] = [1e-45, 1e-30, 100].flatMap((temperature) =>
      [1e-30, 2].map((repetitionPenalty) => ({
        temperature,
        topP: 1e-30,
        topK: 0x7fff_ffff,
        seed: 0xffff_ffff,
        minP: 1,
        repetitionPenalty,
        frequencyPenalty: -2,
        presencePenalty: 2,
        logitBias: tokenIds(1, 300).map((id) => [id, -100] as const),
        logprobs: 20,
      })),
    );
    const { sampledIds } = await model.forwardWithLogits(batchFor(bounds));
    // A nucleus of nothing is the best token.
    for (const [sample, { repetitionPenalty }] of bounds.entries())
      expect(sampledIds[sample]).toBe(sampledIds[repetitionPenalty === 2 ? 1 : 0]);
  });

  it.each(['scalar', 'avx2', 'avx512vnni'])(
    'gives the same tokens and the same bits of logprobs with %s',
    async (kernels) => {
      const other = loadWithKernels(kernels);
      if (other === null) return;
      const all = fc.sample(samplings, { numRuns: 60, seed: 3 });
      const expected = await model.forwardWithLogits(batchFor(all));
      const actual = await other.forwardWithLogits(batchFor(all));
      other.close();
      const bits = (values: Float32Array | undefined): Uint8Array =>
        new Uint8Array(values?.slice().buffer ?? []);
      expect(actual.sampledIds).toEqual(expected.sampledIds);
      expect(actual.logprobs?.topIds).toEqual(expected.logprobs?.topIds);
      expect(bits(actual.logprobs?.sampled)).toEqual(bits(expected.logprobs?.sampled));
      expect(bits(actual.logprobs?.topValues)).toEqual(bits(expected.logprobs?.topValues));
    },
  );
});
