// The supervisor's own /healthz, /readyz and /metrics: which processes are up, and how often each died.
import { Counter, Gauge, Registry } from 'prom-client';
import { serveOperatorEndpoints } from '../process/operator-endpoints.ts';
import type { OperatorEndpoints } from '../process/operator-endpoints.ts';
import type { SupervisedProcess } from './supervised-process.ts';

export interface SupervisorMetrics {
  readonly url: string;
  /** Records a change of a process's state. */
  observe(process: SupervisedProcess): void;
  close(): Promise<void>;
}

/** @param all the processes at the time of the question */
export async function serveSupervisorMetrics(
  all: () => readonly SupervisedProcess[],
): Promise<SupervisorMetrics> {
  const registry = new Registry();
  const registers = [registry];
  const up = new Gauge({
    name: 'colloquy_process_up',
    help: '1 while a process is ready',
    labelNames: ['name', 'kind'],
    registers,
  });
  const deaths = new Counter({
    name: 'colloquy_process_deaths_total',
    help: 'Times a process died without being asked to',
    labelNames: ['name', 'kind'],
    registers,
  });
  const endpoints: OperatorEndpoints = await serveOperatorEndpoints(0, {
    registry,
    ready: {
      processes: () => all().length > 0 && all().every((process) => process.state === 'ready'),
    },
    isAlive: () => true,
  });
  return {
    url: `http://127.0.0.1:${endpoints.port}/metrics`,
    observe: (process) => {
      const labels = { name: process.spec.name, kind: process.spec.kind };
      up.set(labels, process.state === 'ready' ? 1 : 0);
      if (process.state === 'backing-off') deaths.inc(labels);
    },
    close: () => endpoints.close(),
  };
}
