// Our engine under a bench: the whole of it (scheduler, batches, native step, sampling, listeners), without services.
import type { CacheScope, SequenceFinish } from '../../contracts/engine.ts';
import { StepEngine } from '../../inference/engine.ts';
import type { StepRecord } from '../../inference/engine.ts';
import { NativeModel } from '../../inference/native.ts';
import type { BenchOptions } from './options.ts';

export interface EngineSettings {
  readonly maxNumBatchedTokens: number;
  readonly maxNumSeqs: number;
  readonly kvPoolBytes: number;
  /** Left out = no prompt lookup. */
  readonly maxDraftTokens?: number;
  readonly onStep?: (step: StepRecord) => void;
}

export interface OpenEngine {
  readonly native: NativeModel;
  readonly engine: StepEngine;
}

/** The caller closes the engine, which closes the model. */
export function openEngine(
  { model, threads, arithmetic, kernels, kvFormat }: BenchOptions,
  { kvPoolBytes, ...settings }: EngineSettings,
): OpenEngine {
  const native = new NativeModel({
    path: model,
    kvPoolBytes,
    kvFormat,
    threads,
    arithmetic,
    kernels,
  });
  const engine = new StepEngine(native, {
    contextLength: native.contextLength,
    ...settings,
    onListenerError: (error) => {
      throw error;
    },
  });
  return { native, engine };
}

export interface Generation {
  readonly tokenIds: readonly number[];
  /** performance.now() at each token. */
  readonly times: readonly number[];
  readonly finish: SequenceFinish;
  readonly numCachedTokens: number;
}

let numSubmitted = 0;

/** Submits one greedy sequence; resolves when it ends. It ends at `maxTokens`, or before at one of `stopTokenIds`. */
export function generate(
  engine: StepEngine,
  promptTokenIds: readonly number[],
  maxTokens: number,
  {
    cacheScope = null,
    stopTokenIds = [],
    onToken,
  }: {
    cacheScope?: CacheScope | null;
    stopTokenIds?: readonly number[];
    onToken?: () => void;
  } = {},
): Promise<Generation> {
  const tokenIds: number[] = [];
  const times: number[] = [];
  return new Promise((resolve) => {
    engine.submit(
      {
        seqId: `bench-${numSubmitted++}`,
        promptTokenIds,
        outputTokenIds: [],
        maxTokens,
        sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
        stopTokenIds,
        priority: 0,
        cacheScope,
      },
      {
        onTokens: (ids) => {
          tokenIds.push(...ids);
          const now = performance.now();
          for (let index = 0; index < ids.length; index += 1) {
            times.push(now);
            onToken?.();
          }
        },
        onFinish: (finish, numCachedTokens) =>
          resolve({ tokenIds, times, finish, numCachedTokens }),
      },
    );
  });
}

/** A prompt that no other seed shares a block with: spread over the vocabulary, the same on every side of a comparison. */
export function promptOf(seed: number, length: number): number[] {
  return Array.from({ length }, (_, index) => 100 + ((seed * 977 + index * 31 + seed) % 40_000));
}
