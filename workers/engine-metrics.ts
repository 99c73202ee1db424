// The engine's gauges, read when Prometheus asks: a scrape shows what is, not what was at the last one.
import type { Engine } from '../contracts/engine.ts';
import { Gauge } from '../process/metrics.ts';
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
  gauge('colloquy_engine_sequences', 'Sequences by state', () => {
    const { waiting, running, preempted } = engine.stats();
    return { waiting, running, preempted };
  });
}
