// What a turn of a test asks for when its parameters do not matter.
import { turnParams } from '../../contracts/turn-request.ts';
import type { TurnParams } from '../../contracts/turn-request.ts';

/** Greedy and unadjusted, one reply. */
export function plainParams(maxTokens: number): TurnParams {
  return turnParams.parse({
    maxTokens,
    temperature: 0,
    topP: 1,
    seed: 1,
    stop: [],
    reasoning: false,
  });
}
