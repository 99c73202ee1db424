// Logit bias and penalties by their definitions: every token is counted anew. For comparison with what is kept incrementally.
import type { SamplingParams } from '../../contracts/engine.ts';

/** What happens to one logit: + bias, then ÷ scale where positive and · scale where not, then − penalty. As 32-bit floats. */
export interface SlowAdjustment {
  readonly id: number;
  readonly bias: number;
  readonly scale: number;
  readonly penalty: number;
}

/** Adjustments of the token that follows `context`, whose first `promptLength` tokens are the prompt; in order of id. */
export function slowAdjustments(
  sampling: SamplingParams,
  promptLength: number,
  context: readonly number[],
): SlowAdjustment[] {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = sampling;
  const biases = new Map(sampling.logitBias ?? []);
  const output = context.slice(promptLength);
  return [...new Set([...biases.keys(), ...context])]
    .map((id) => {
      const numOutputs = output.filter((each) => each === id).length;
      const presence = numOutputs > 0 ? presencePenalty : 0;
      return {
        id,
        bias: Math.fround(biases.get(id) ?? 0),
        scale: Math.fround(context.includes(id) ? repetitionPenalty : 1),
        penalty: Math.fround(numOutputs * frequencyPenalty + presence),
      };
    })
    .filter(({ bias, scale, penalty }) => bias !== 0 || scale !== 1 || penalty !== 0)
    .sort((one, other) => one.id - other.id);
}
