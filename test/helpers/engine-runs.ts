// Sequences run to their end, and what the fake model says without any engine.
import type {
  Engine,
  SamplingParams,
  SequenceFinish,
  SequenceRequest,
} from '../../contracts/engine.ts';
import { nextToken } from './fake-executor.ts';
import { slowAdjustments } from './slow-adjustments.ts';

export const GREEDY: SamplingParams = { temperature: 0, topP: 1, topK: 0, seed: 1 };

export interface Ended {
  readonly tokens: number[];
  readonly finish: SequenceFinish;
}

let numRequests = 0;

/** A request with an id of its own: ten greedy tokens unless `more` says otherwise. */
export function sequenceRequest(
  promptTokenIds: readonly number[],
  more: Partial<SequenceRequest> = {},
): SequenceRequest {
  numRequests += 1;
  return {
    seqId: `seq-${numRequests}`,
    promptTokenIds,
    outputTokenIds: [],
    maxTokens: 10,
    stopTokenIds: [],
    priority: 3,
    cacheScope: { tenant: 'one', numSharedTokens: 0 },
    sampling: GREEDY,
    ...more,
  };
}

/** Submits; resolves when onFinish came. Rejects on a second onFinish, or on tokens after it. */
export function runSequence(
  engine: Engine,
  request: SequenceRequest,
  onToken?: (count: number) => void,
): Promise<Ended> {
  const tokens: number[] = [];
  return new Promise((resolve, reject) => {
    let isFinished = false;
    const once = (): void => {
      if (isFinished) reject(new Error(`${request.seqId} heard something after its end`));
    };
    engine.submit(request, {
      onTokens: (ids) => {
        once();
        tokens.push(...ids);
        onToken?.(tokens.length);
      },
      onFinish: (finish) => {
        once();
        isFinished = true;
        // A tick later, so that whatever wrongly follows in this step is seen.
        setImmediate(() => resolve({ tokens, finish }));
      },
    });
  });
}

/** What the fake model says after a prompt. */
export function expectedTokens(
  prompt: readonly number[],
  count: number,
  sampling: SamplingParams = GREEDY,
  vocabSize = 1000,
): number[] {
  const context = [...prompt];
  for (let index = 0; index < count; index += 1) {
    const adjustments = slowAdjustments(sampling, prompt.length, context);
    context.push(nextToken(context, vocabSize, sampling, adjustments));
  }
  return context.slice(prompt.length);
}

/** The event loop's next turn: one step of a fake executor that is not manual. */
export function nextTick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
