// Which of our own processes one system has, as data: pure decisions from the settings and the catalogue.
import type { Catalog } from '../contracts/catalog.ts';
import type { ProcessKind } from './child-spec.ts';
import type { RuntimeSettings } from './settings.ts';

/** A process as the plan names it: what it is and which compiled entry runs it. */
export interface PlannedProcess {
  readonly name: string;
  readonly kind: ProcessKind;
  readonly pool?: string;
  /** Path of the entry, relative to the checkout. */
  readonly entry: string;
  readonly args: readonly string[];
}

/**
 * Workers first, gateways last; the order of the list is the order of names in `npm run status`.
 * @throws Error when --workers names a pool that the catalogue has not
 */
export function planProcesses(
  settings: Pick<RuntimeSettings, 'numGateways' | 'numWorkers'>,
  catalog: Catalog,
): PlannedProcess[] {
  const pools = Object.keys(catalog.pools);
  for (const pool of settings.numWorkers.keys()) {
    if (!pools.includes(pool))
      throw new Error(`--workers names pool "${pool}"; the catalogue has ${pools.join(', ')}.`);
  }
  const inference = pools.flatMap((pool) =>
    numbered(settings.numWorkers.get(pool) ?? 1, (number) => ({
      name: `inference-${pool}-${number}`,
      kind: 'inference-worker' as const,
      pool,
      entry: 'dist/workers/inference-worker.js',
      args: ['--pool', pool],
    })),
  );
  const gateways = numbered(settings.numGateways, (number) => ({
    name: `gateway-${number}`,
    kind: 'gateway' as const,
    entry: 'dist/gateway/server.js',
    args: [],
  }));
  return [
    { name: 'turn-worker-1', kind: 'turn-worker', entry: 'dist/workers/turn-worker.js', args: [] },
    {
      name: 'background-worker-1',
      kind: 'background-worker',
      entry: 'dist/workers/background-worker.js',
      args: [],
    },
    ...inference,
    ...gateways,
  ];
}

function numbered<Item>(count: number, make: (number: number) => Item): Item[] {
  return Array.from({ length: count }, (_, index) => make(index + 1));
}
