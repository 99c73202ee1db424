// The models that batch jobs lend: the encoder of facts, and the vocabularies of the catalogue's pools. Loaded for a job,
// freed behind it.
import type { CountTokens } from '../activities/job-back-fill.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { TextEmbedder } from '../contracts/text-embedder.ts';
import { Embedder } from '../inference/embedder.ts';
import { NativeVocabulary } from '../inference/native-vocabulary.ts';
import { inHome } from '../process/config.ts';
import type { Config } from '../process/config.ts';
import { IdleResource } from './idle-resource.ts';

/** Longer than a rest between two batches. */
const IDLE_MS = 30_000;
/** The other cores are for turns. */
const EMBEDDER_THREADS = 1;

export interface JobModels {
  withEmbedder<Result>(work: (embedder: TextEmbedder) => Promise<Result>): Promise<Result>;
  readonly countTokens: CountTokens;
  close(): Promise<void>;
}

export function createJobModels(config: Config, catalog: Catalog): JobModels {
  const embedder = new IdleResource(
    () =>
      new Embedder({
        modelPath: config.memory.encoderPath,
        threads: EMBEDDER_THREADS,
      }),
    IDLE_MS,
  );
  /** Pools of the same file share its vocabulary. */
  const vocabularies = new Map<string, IdleResource<NativeVocabulary>>();
  const vocabularyOf = (pool: Catalog['pools'][string]): IdleResource<NativeVocabulary> => {
    const path = inHome(config, pool.kind === 'native' ? pool.weights : pool.tokenizer);
    const known =
      vocabularies.get(path) ?? new IdleResource(() => new NativeVocabulary(path), IDLE_MS);
    vocabularies.set(path, known);
    return known;
  };
  return {
    withEmbedder: (work) => embedder.use(work),
    countTokens: async ({ model, pool }, text) => {
      const served =
        catalog.pools[pool ?? ''] ?? catalog.pools[catalog.models[model]?.pool ?? ''] ?? null;
      if (served === null) return null;
      return vocabularyOf(served).use((vocabulary) => vocabulary.encode(text).length);
    },
    close: async () => {
      await Promise.all([embedder, ...vocabularies.values()].map((each) => each.close()));
    },
  };
}
