// The engine's gauges, read when Prometheus asks.
import type { Engine } from '../contracts/engine.ts';
import type { Metrics } from '../process/metrics.ts';
import { Gauge } from '../process/metrics.ts';

export function observeEngine(metrics: Metrics, pool: string, engine: Engine): void {
  const collect = (): void => {
    const { kvBlocks, waiting, running, preempted } = engine.stats();
    for (const [state, value] of Object.entries(kvBlocks)) metrics.engineKvBlocks.set({ state, pool }, value);
    for (const [state, value] of Object.entries({ waiting, running, preempted })) metrics.engineSequences.set({ state, pool }, value);
  };
  collect();
  // A gauge whose only purpose is its collect(): prom-client calls it before it renders the page.
  new Gauge({
    name: 'colloquy_engine_steps',
    help: 'Steps run since start',
    registers: [metrics.registry],
    collect() {
      collect();
      this.set(engine.stats().numSteps);
    },
  });
}
