// The vocabularies that a gateway has, one for each model file of the catalogue, without weights: some 20 MB and 150 ms each.
import type { Catalog } from '../contracts/catalog.ts';
import type { PromptEncoder, PromptEncoderOf } from '../contracts/prompt-encoder.ts';
import { createPromptEncoder } from '../inference/prompt-encoder.ts';
import { openVocabulary } from '../inference/remote/vocabulary.ts';
import type { Vocabulary } from '../inference/remote/vocabulary.ts';
import { inHome } from '../process/config.ts';
import type { Config } from '../process/config.ts';
import type { Logger } from '../process/logger.ts';

export interface PromptEncoders {
  readonly of: PromptEncoderOf;
  close(): void;
}

/** A file that cannot be used is logged, and its pools are served without: their workers count. */
export function openPromptEncoders(
  config: Config,
  catalog: Catalog,
  logger: Logger,
): PromptEncoders {
  const vocabularies = new Map<string, Vocabulary>();
  const encoders = new Map<string, PromptEncoder>();
  for (const [name, pool] of Object.entries(catalog.pools)) {
    const path = inHome(config, pool.kind === 'remote' ? pool.tokenizer : pool.weights);
    const isByMessages = pool.kind === 'remote' && pool.server === 'openai';
    try {
      const vocabulary = vocabularies.get(path) ?? openVocabulary(path);
      vocabularies.set(path, vocabulary);
      encoders.set(name, createPromptEncoder(vocabulary, isByMessages));
    } catch (error) {
      logger.warn({ error, pool: name }, 'tokens of this pool are not counted here');
    }
  }
  return {
    of: (pool) => encoders.get(pool) ?? null,
    close: () => vocabularies.forEach((each) => each.close()),
  };
}
