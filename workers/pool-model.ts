// The model behind a pool of the catalogue, whatever its kind, and whether it is alive.
import type { Catalog } from '../contracts/catalog.ts';
import type { ServedModel } from '../contracts/engine.ts';
import type { StepRecord } from '../inference/engine.ts';
import { createRemoteModel } from '../inference/remote-pool.ts';
import { createServedModel } from '../inference/served-model.ts';
import { inHome } from '../process/config.ts';
import type { Config } from '../process/config.ts';
import { EngineHealth } from './engine-health.ts';
import { probeEngine } from './engine-probe.ts';

export interface PoolModelOptions {
  readonly config: Config;
  readonly pool: Catalog['pools'][string];
  /** Where the key of a remote pool is. */
  readonly env: NodeJS.ProcessEnv;
  readonly onStep: (step: StepRecord) => void;
  readonly onListenerError: (error: unknown) => void;
  readonly onFailure: (error: Error) => void;
  /** The engine has had work and made no step for config.engine.stallExitMs. */
  readonly onStalled: (stalledMs: number) => void;
}

export interface PoolModel {
  readonly model: ServedModel;
  readonly isAlive: () => boolean;
  /**
   * Generates the first token and watches the engine from then on. Turns come after it.
   * @returns the longest step without which the engine counts as stalled, ms; null where nothing is watched
   * @throws Error when there is no token
   */
  prove(): Promise<number | null>;
  close(): Promise<void>;
}

/** @throws AppError INVALID_REQUEST when a file cannot be used; Error when a remote pool's key is missing */
export function createPoolModel(options: PoolModelOptions): PoolModel {
  const { config, pool, env, onStep, onListenerError, onFailure, onStalled } = options;
  if (pool.kind === 'remote') {
    const model = createRemoteModel({
      pool,
      tokenizerPath: inHome(config, pool.tokenizer),
      apiKey: keyOf(env, pool.api_key_env),
      onListenerError,
    });
    // Its requests have time-outs of their own, a new worker would ask the same server, and a first token may cost money.
    return {
      model,
      isAlive: () => true,
      prove: () => Promise.resolve(null),
      close: () => model.close(),
    };
  }
  const { draft_model: draft } = pool;
  const model = createServedModel({
    modelPath: inHome(config, pool.weights),
    kvPoolBytes: pool.kv_pool_bytes,
    kvFormat: pool.kv_format,
    swapBytes: pool.swap_bytes,
    draft: draft && { path: inHome(config, draft.weights), kvPoolBytes: draft.kv_pool_bytes },
    threads: config.engine.threads,
    arithmetic: pool.arithmetic,
    contextLength: pool.context_length,
    maxNumBatchedTokens: pool.max_num_batched_tokens,
    maxNumSeqs: pool.max_num_seqs,
    maxDraftTokens: pool.max_draft_tokens,
    onStep,
    onListenerError,
    onFailure,
  });
  const { stallMs, stallExitMs } = config.engine;
  const health = new EngineHealth(() => model.engine.stats(), {
    stallMs,
    exitMs: stallExitMs,
    onStalled,
  });
  return {
    model,
    isAlive: () => health.isAlive,
    prove: async () => {
      health.start(await probeEngine(model, pool.max_num_batched_tokens));
      return health.stallMs;
    },
    close: () => {
      health.stop();
      return model.close();
    },
  };
}

function keyOf(env: NodeJS.ProcessEnv, name: string | undefined): string | null {
  if (name === undefined) return null;
  const key = env[name] ?? '';
  if (key === '') throw new Error(`the pool's key is expected in ${name}, which is not set`);
  return key;
}
