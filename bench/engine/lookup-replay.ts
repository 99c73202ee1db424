// What prompt lookup would save at other costs of a row: known replies are gone through again, with the speculator that the
// engine has, and steps cost what they are said to. It tells drafting and kernels apart.
import type { SequenceRequest } from '../../contracts/engine.ts';
import { Sequence } from '../../inference/sequence.ts';
import { Speculator } from '../../inference/speculator.ts';
import { StepCost } from '../../inference/step-cost.ts';

export interface KnownReply {
  readonly category: string;
  readonly prompt: readonly number[];
  readonly reply: readonly number[];
}

export interface Replayed {
  readonly numTokens: number;
  readonly numSteps: number;
  readonly numRows: number;
  /** Cost of decoding ÷ cost with lookup, prompts apart. */
  readonly ratio: number;
}

const silent = { onTokens: () => undefined, onFinish: () => undefined };

/**
 * Replays one reply after the other on one speculator.
 * @param fixedRows rows that cost as much as the fixed part of a step
 */
export function replay(
  replies: readonly KnownReply[],
  fixedRows: number,
  maxDraftTokens: number,
): Replayed {
  const costOf = (numRows: number): number => fixedRows + numRows;
  const cost = new StepCost();
  const speculator = new Speculator(maxDraftTokens, cost);
  let [numTokens, numSteps, numRows, total] = [0, 0, 0, 0];
  for (const { prompt, reply } of replies) {
    const sequence = new Sequence(requestOf([...prompt, ...reply.slice(0, 1)]), silent, 0);
    for (let next = 1; next < reply.length;) {
      const plan = { numRows: 1, numTokens: 1 };
      const draft = speculator.draft(sequence, plan, reply.length - next - 1);
      const guesses = draft?.tokenIds ?? [];
      const firstWrong = guesses.findIndex((id, offset) => id !== reply[next + offset]);
      const numAccepted = firstWrong < 0 ? guesses.length : firstWrong;
      if (draft !== null) speculator.settle(sequence, draft, numAccepted);
      const rows = 1 + guesses.length;
      cost.observe(rows, costOf(rows));
      sequence.tokenIds.push(...reply.slice(next, next + numAccepted + 1));
      next += numAccepted + 1;
      numTokens += numAccepted + 1;
      numSteps += 1;
      numRows += rows;
      total += costOf(rows);
    }
  }
  return { numTokens, numSteps, numRows, ratio: (numTokens * costOf(1)) / total };
}

function requestOf(promptTokenIds: readonly number[]): SequenceRequest {
  return {
    seqId: 'replayed',
    promptTokenIds,
    outputTokenIds: [],
    maxTokens: 1,
    sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
    stopTokenIds: [],
    priority: 0,
    cacheScope: null,
  };
}
