// The bounds of SamplingParams. The native side checks what it gets again, and refuses the whole batch: a value that would
// be refused there must be refused here, also one that only rounding to 32 bits makes wrong.
import type { SamplingParams } from '../contracts/engine.ts';

const MAX_BIASES = 300;
const MAX_BIAS = 100;
const MAX_CHOICES = 1000;
const MAX_CHOICE_TOKENS = 10_000;
/** Alternatives that a step can tell of, beside a sampled token. */
export const MAX_LOGPROBS = 20;

/** The name of the first parameter out of its range; null when there is none. */
export function wrongSampling(
  sampling: SamplingParams,
  vocabSize: number,
): keyof SamplingParams | null {
  const { minP = 0, repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = sampling;
  const isId = (id: number): boolean => isWithin(id, 0, vocabSize - 1);
  const { logitBias = [], logprobs = null, choices } = sampling;
  const checks: readonly (readonly [keyof SamplingParams, boolean])[] = [
    ['temperature', sampling.temperature >= 0 && sampling.temperature <= 100],
    ['topP', Math.fround(sampling.topP) > 0 && sampling.topP <= 1],
    ['topK', isWithin(sampling.topK, 0, 0x7fff_ffff)],
    ['seed', isWithin(sampling.seed, 0, 0xffff_ffff)],
    ['minP', minP >= 0 && minP <= 1],
    ['repetitionPenalty', Math.fround(repetitionPenalty) > 0 && repetitionPenalty <= 2],
    ['frequencyPenalty', Math.abs(frequencyPenalty) <= 2],
    ['presencePenalty', Math.abs(presencePenalty) <= 2],
    [
      'logitBias',
      logitBias.length <= MAX_BIASES &&
        logitBias.every(([id, bias]) => isId(id) && Math.abs(bias) <= MAX_BIAS) &&
        new Set(logitBias.map(([id]) => id)).size === logitBias.length,
    ],
    ['choices', choices === undefined || areChoices(choices, sampling, isId)],
    ['logprobs', logprobs === null || isWithin(logprobs, 0, MAX_LOGPROBS)],
  ];
  return checks.find(([, holds]) => !holds)?.[0] ?? null;
}

/** The best token of the model's own distribution, and nothing told of it. */
export function isPlainGreedy(sampling: SamplingParams): boolean {
  const { minP = 0, repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = sampling;
  const isUnchanged =
    repetitionPenalty === 1 &&
    frequencyPenalty === 0 &&
    presencePenalty === 0 &&
    (sampling.logitBias ?? []).length === 0 &&
    sampling.choices === undefined;
  return (
    sampling.temperature === 0 && minP === 0 && isUnchanged && (sampling.logprobs ?? null) === null
  );
}

/** A scale would reorder the allowed tokens by what was said, and heat would let others in: see CHOICE_BIAS. */
function areChoices(
  choices: readonly (readonly number[])[],
  { temperature, repetitionPenalty = 1 }: SamplingParams,
  isId: (id: number) => boolean,
): boolean {
  return (
    isWithin(choices.length, 1, MAX_CHOICES) &&
    choices.reduce((sum, { length }) => sum + length, 0) <= MAX_CHOICE_TOKENS &&
    choices.every((choice) => choice.length > 0 && choice.every(isId)) &&
    repetitionPenalty === 1 &&
    temperature <= 2
  );
}

function isWithin(value: number, from: number, to: number): boolean {
  return Number.isInteger(value) && value >= from && value <= to;
}
