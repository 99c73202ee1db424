// The engine's gauges, read when Prometheus asks: a scrape shows what is, not what was at the last one.
import type { Engine } from '../contracts/engine.ts';
import { Counter, Gauge } from '../process/metrics.ts';
import type { Metrics } from '../process/metrics.ts';

export function observeEngine({ registry }: Metrics, pool: string, engine: Engine): void {
  const gauge = (
    name: string,
    help: string,
    read: () => Readonly<Record<string, number>>,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: ['state', 'pool'],
      registers: [registry],
      collect() {
        for (const [state, value] of Object.entries(read())) this.set({ state, pool }, value);
      },
    });
  };
  gauge('colloquy_engine_kv_blocks', 'KV blocks by state', () => engine.stats().kvBlocks);
  gauge(
    'colloquy_engine_draft_kv_blocks',
    'KV blocks of the draft model by state; none without one',
    () => engine.stats().speculation.draftModel?.kvBlocks ?? {},
  );
  gauge('colloquy_engine_sequences', 'Sequences by state', () => {
    const { waiting, running, preempted, held } = engine.stats();
    return { waiting, running, preempted, held };
  });
  const counter = (
    name: string,
    help: string,
    read: () => Readonly<Record<string, number>>,
  ): void => {
    new Counter({
      name,
      help,
      labelNames: ['result', 'pool'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [result, value] of Object.entries(read())) this.inc({ result, pool }, value);
      },
    });
  };
  counter(
    'colloquy_engine_prefix_cache_tokens_total',
    'Tokens of admitted sequences: looked up in the prefix cache, and found there',
    () => {
      const { queriedTokens, hitTokens } = engine.stats().prefixCache;
      return { queried: queriedTokens, hit: hitTokens };
    },
  );
  counter(
    'colloquy_engine_draft_tokens_total',
    'Tokens guessed ahead, and those the model agreed with; of the draft model, those among them',
    () => {
      const { proposedTokens, acceptedTokens, draftModel } = engine.stats().speculation;
      return {
        proposed: proposedTokens,
        accepted: acceptedTokens,
        ...(draftModel && {
          proposed_by_model: draftModel.proposedTokens,
          accepted_of_model: draftModel.acceptedTokens,
        }),
      };
    },
  );
}
