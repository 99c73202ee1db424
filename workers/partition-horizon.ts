// Months of `turns` as the background worker sees to them: made when it starts, and how far they reach as a metric. An alert
// on it is the last warning: a turn without a month cannot be stored.
import { createTurnPartitions, partitionHorizonDays } from '../postgres/partitions.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import { Gauge } from '../process/metrics.ts';
import type { Metrics } from '../process/metrics.ts';

/** Makes what is missing. A store that is away is no reason not to start: the schedule asks again. */
export async function makeMonths(stores: Stores, logger: Logger): Promise<void> {
  for (const db of stores.primaries)
    await createTurnPartitions(db).catch((error: unknown) =>
      logger.warn({ error }, 'partitions not made'),
    );
}

export function observePartitions({ registry }: Metrics, stores: Stores): void {
  new Gauge({
    name: 'colloquy_turn_partition_horizon_days',
    help: 'Days from now for which turns have a partition, in the database that has fewest',
    registers: [registry],
    async collect() {
      const days = await Promise.all(stores.primaries.map(partitionHorizonDays)).catch(() => null);
      // Unknown is no number: an old one would hide that nobody looks.
      if (days === null) this.reset();
      else this.set(Math.min(...days));
    },
  });
}
