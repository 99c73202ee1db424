// A remote pool's entry of the catalogue with what a test does not care about filled in.
import type { RemotePool } from '../../contracts/catalog.ts';

export function remotePool(
  more: Partial<Omit<RemotePool, 'timeouts'>> & {
    readonly base_url: string;
    readonly timeouts?: Partial<RemotePool['timeouts']>;
  },
): RemotePool {
  return {
    kind: 'remote',
    server: 'llama.cpp',
    model: 'the-model',
    tokenizer: 'models/any.gguf',
    context_length: 4096,
    max_num_seqs: 4,
    shed_waiting: 8,
    ...more,
    timeouts: {
      connect_ms: 2000,
      first_token_ms: 20_000,
      between_tokens_ms: 10_000,
      unavailable_ms: 30_000,
      ...more.timeouts,
    },
  };
}
