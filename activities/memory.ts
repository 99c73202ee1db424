// The sweep of long-term memory: which conversations are idle and unread, and whose workers read them.
import type { IdleConversation } from '../contracts/background-work.ts';
import { poolTaskQueue } from '../contracts/catalog.ts';
import type { Catalog } from '../contracts/catalog.ts';
import { claimIdleConversations } from '../postgres/memory-boundary.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';

/** A conversation is idle when nobody wrote for this long; extraction then sees whole exchanges, off the turn's path. */
const IDLE_MS = 10 * 60_000;
/** Longer than an extraction may take with its tries: one that is not done by then is begun again. */
const CLAIM_MS = 30 * 60_000;
/** Children started by one sweep; the next one takes the rest. */
const SWEEP_LIMIT = 100;

export interface MemoryDeps {
  readonly stores: Stores;
  readonly catalog: Catalog;
  readonly logger: Logger;
  /** For tests. */
  readonly idleMs?: number;
}

export function createMemoryActivities({ stores, catalog, logger, idleMs = IDLE_MS }: MemoryDeps) {
  const findIdleConversations = async (): Promise<IdleConversation[]> => {
    const limits = { idleMs, claimMs: CLAIM_MS, limit: SWEEP_LIMIT };
    const found = await Promise.all(
      stores.primaries.map((db) => claimIdleConversations(db, limits)),
    );
    return found
      .flat()
      .map(({ model, ...idle }) => ({ ...idle, taskQueue: poolTaskQueue(poolOf(catalog, model)) }));
  };

  return translateFailures({ findIdleConversations }, logger);
}

/** The conversation's own; of a model that the catalogue has no more, any. */
function poolOf({ models, pools }: Catalog, model: string): string {
  return models[model]?.pool ?? Object.keys(pools)[0] ?? '';
}
