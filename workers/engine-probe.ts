// Proves an engine before it is trusted with turns: a real prompt as long as a step may be, and real tokens after it.
import type { SequenceRequest, ServedModel } from '../contracts/engine.ts';

/** Loading is over by then, so this is for machines hundreds of times slower than those it was measured on (0.1 s). */
const PROBE_TIMEOUT_MS = 60_000;
/** The first comes out of the prompt's step, the second out of one that decodes. */
const NUM_TOKENS = 2;

/**
 * Generates two tokens behind a prompt that fills a whole step.
 * @param numRows most tokens of one step
 * @returns how long the longer of its steps took, ms
 * @throws Error when the engine gives none, or not in time
 */
export function probeEngine(
  {
    engine,
    contextLength,
    encodePrompt,
  }: Pick<ServedModel, 'engine' | 'contextLength' | 'encodePrompt'>,
  numRows: number,
  timeoutMs = PROBE_TIMEOUT_MS,
): Promise<number> {
  const words = encodePrompt([{ role: 'user', content: 'Hello' }]);
  const length = Math.max(1, Math.min(numRows, contextLength - NUM_TOKENS));
  const request: SequenceRequest = {
    seqId: 'probe',
    promptTokenIds: Array.from({ length }, (_, index) => words[index % words.length] ?? 0),
    outputTokenIds: [],
    maxTokens: NUM_TOKENS,
    sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
    stopTokenIds: [],
    priority: 0,
    cacheScope: null,
  };
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the engine gave no token within ${timeoutMs} ms`)),
      timeoutMs,
    );
    let [since, longestMs, numTokens] = [performance.now(), 0, 0];
    engine.submit(request, {
      onTokens: (ids) => {
        const now = performance.now();
        longestMs = Math.max(longestMs, now - since);
        since = now;
        numTokens += ids.length;
      },
      onFinish: (finish) => {
        clearTimeout(timer);
        if (numTokens > 0 && finish.reason === 'length') resolve(longestMs);
        else
          reject(
            new Error(`the engine's first sequence ended with ${finish.reason}`, {
              cause: 'error' in finish ? finish.error : undefined,
            }),
          );
      },
    });
  });
}
