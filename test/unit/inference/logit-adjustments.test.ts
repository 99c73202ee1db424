import fc from 'fast-check';
import type { SamplingParams } from '../../../contracts/engine.ts';
import { flattenAdjustments, LogitAdjustments } from '../../../inference/logit-adjustments.ts';
import type { AdjustmentRow } from '../../../inference/logit-adjustments.ts';
import { GREEDY } from '../../helpers/engine-runs.ts';
import { slowAdjustments } from '../../helpers/slow-adjustments.ts';

const smallId = fc.nat(9);
const penalty = fc.constantFrom(0, -1.5, 0.3, 2);
const samplings: fc.Arbitrary<SamplingParams> = fc
  .record({
    repetitionPenalty: fc.constantFrom(1, 0.5, 1.3),
    frequencyPenalty: penalty,
    presencePenalty: penalty,
    logitBias: fc.uniqueArray(
      fc.tuple(
        smallId,
        fc.double({ min: -100, max: 100, noNaN: true }).map((each) => each || 1),
      ),
      { selector: ([id]) => id, maxLength: 4 },
    ),
  })
  .map((more) => ({ ...GREEDY, ...more }));

/** In order of id, without entries that change nothing, as the slow one has them. */
const changes = (row: AdjustmentRow | null | undefined) =>
  (row?.ids ?? [])
    .map((id, index) => ({
      id,
      bias: Math.fround(row?.biases[index] ?? NaN),
      scale: Math.fround(row?.scales[index] ?? NaN),
      penalty: Math.fround(row?.penalties[index] ?? NaN),
    }))
    .filter(({ bias, scale, penalty: less }) => bias !== 0 || scale !== 1 || less !== 0)
    .sort((one, other) => one.id - other.id);

describe('LogitAdjustments', () => {
  it('is nothing for parameters that change no logit', () => {
    const off = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: [] };
    expect(LogitAdjustments.of(GREEDY, 3)).toBeNull();
    expect(LogitAdjustments.of({ ...GREEDY, ...off, minP: 0.1, logprobs: 5 }, 3)).toBeNull();
  });

  it('counts repetition over prompt and output, frequency and presence over output only', () => {
    const sampling = {
      ...GREEDY,
      repetitionPenalty: 1.5,
      frequencyPenalty: 0.5,
      presencePenalty: 0.25,
      logitBias: [
        [9, -100],
        [5, 3],
      ] as const,
    };
    expect(LogitAdjustments.of(sampling, 2)?.rowAt([5, 6, 7, 7, 6], 5)).toEqual({
      ids: [9, 5, 6, 7],
      biases: [-100, 3, 0, 0],
      scales: [1, 1.5, 1.5, 1.5],
      penalties: [0, 0, 0.75, 1.25],
    });
  });

  it('gives each row what counting anew gives, in whatever order rows are asked and however tokens were replaced', () => {
    fc.assert(
      fc.property(
        samplings,
        fc.integer({ min: 1, max: 4 }),
        fc.array(
          fc.record({
            // Replaces the tokens from here on, as another draft does.
            keep: fc.nat(20),
            append: fc.array(smallId, { maxLength: 6 }),
            length: fc.nat(20),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        (sampling, promptLength, steps) => {
          const prompt = [1, 2, 3, 1].slice(0, promptLength);
          const kept = LogitAdjustments.of(sampling, promptLength);
          let tokens = prompt;
          for (const { keep, append, length } of steps) {
            tokens = [...tokens.slice(0, Math.max(promptLength, keep)), ...append];
            const end = Math.min(tokens.length, Math.max(promptLength, length));
            const row = kept?.rowAt(tokens, end);
            expect(row).toEqual(LogitAdjustments.of(sampling, promptLength)?.rowAt(tokens, end));
            expect(changes(row)).toEqual(
              slowAdjustments(sampling, promptLength, tokens.slice(0, end)),
            );
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('gives rows that later rows leave alone', () => {
    const adjustments = LogitAdjustments.of({ ...GREEDY, frequencyPenalty: 1 }, 1);
    const row = adjustments?.rowAt([1, 2], 2);
    adjustments?.rowAt([1, 3, 3], 3);
    expect(row).toEqual({ ids: [2], biases: [0], scales: [1], penalties: [1] });
  });
});

describe('flattenAdjustments', () => {
  it('puts the rows one after the other, with nothing for samples that have none', () => {
    const row = { ids: [7, 8], biases: [1, 0], scales: [1, 1.5], penalties: [0, 2] };
    expect(flattenAdjustments([null, row, null, row])).toEqual({
      starts: Int32Array.of(0, 0, 2, 2, 4),
      ids: Int32Array.of(7, 8, 7, 8),
      biases: Float32Array.of(1, 0, 1, 0),
      scales: Float32Array.of(1, 1.5, 1, 1.5),
      penalties: Float32Array.of(0, 2, 0, 2),
    });
  });

  it('is undefined when there is no entry at all', () => {
    const none = { ids: [], biases: [], scales: [], penalties: [] };
    expect(flattenAdjustments([null, none])).toBeUndefined();
  });
});
