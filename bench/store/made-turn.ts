// A turn's end as it is stored, of ordinary size; and its parameters.
import type { TurnId } from '../../contracts/ids.ts';
import { turnParams } from '../../contracts/turn-request.ts';
import type { EndedTurn } from '../../postgres/turns.ts';

export const PARAMS = turnParams.parse({
  maxTokens: 512,
  temperature: 1,
  topP: 1,
  seed: 1,
  stop: [],
  reasoning: false,
});

export function endOf(turnId: TurnId): EndedTurn {
  const usage = { promptTokens: 200, completionTokens: 150, cachedTokens: 100 };
  const ended = { finishReason: 'stop' as const, usage, costUsd: 0.0001 };
  const streamOffsets = Array.from({ length: 12 }, (_, index) => index * 50);
  const content = 'I would say this: '.repeat(33);
  return {
    ...ended,
    turnId,
    model: 'colloquy-mini',
    servedModel: 'smollm2',
    pool: 'mini',
    verdict: null,
    continuation: null,
    samples: [{ ...ended, turnId, content, errorCode: null, streamOffsets }],
  };
}
