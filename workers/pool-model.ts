// The model behind a pool of the catalogue, whatever its kind, and whether it is alive.
import type { Catalog } from '../contracts/catalog.ts';
import type { ServedModel } from '../contracts/engine.ts';
import type { StepRecord } from '../inference/engine.ts';
import { createRemoteModel } from '../inference/remote-pool.ts';
import { createServedModel } from '../inference/served-model.ts';
import { inHome } from '../process/config.ts';
import type { Config } from '../process/config.ts';
import { createEngineHealth } from './engine-health.ts';

export interface PoolModelOptions {
  readonly config: Config;
  readonly pool: Catalog['pools'][string];
  /** Where the key of a remote pool is. */
  readonly env: NodeJS.ProcessEnv;
  readonly onStep: (step: StepRecord) => void;
  readonly onListenerError: (error: unknown) => void;
  readonly onFailure: (error: Error) => void;
}

export interface PoolModel {
  readonly model: ServedModel;
  readonly isAlive: () => boolean;
}

/** @throws AppError INVALID_REQUEST when a file cannot be used; Error when a remote pool's key is missing */
export function createPoolModel(options: PoolModelOptions): PoolModel {
  const { config, pool, env, onStep, onListenerError, onFailure } = options;
  if (pool.kind === 'remote') {
    const model = createRemoteModel({
      pool,
      tokenizerPath: inHome(config, pool.tokenizer),
      apiKey: keyOf(env, pool.api_key_env),
      onListenerError,
    });
    // Its requests have time-outs of their own, and a new worker would ask the same server.
    return { model, isAlive: () => true };
  }
  const model = createServedModel({
    modelPath: inHome(config, pool.weights),
    kvPoolBytes: pool.kv_pool_bytes,
    swapBytes: pool.swap_bytes,
    threads: config.engine.threads,
    contextLength: pool.context_length,
    maxNumBatchedTokens: pool.max_num_batched_tokens,
    maxNumSeqs: pool.max_num_seqs,
    maxDraftTokens: pool.max_draft_tokens,
    onStep,
    onListenerError,
    onFailure,
  });
  return { model, isAlive: createEngineHealth(model.engine) };
}

function keyOf(env: NodeJS.ProcessEnv, name: string | undefined): string | null {
  if (name === undefined) return null;
  const key = env[name] ?? '';
  if (key === '') throw new Error(`the pool's key is expected in ${name}, which is not set`);
  return key;
}
