// Long-term memory's boundary: which conversations are idle, and that each turn is considered once.
import type { IdleConversation } from '../contracts/background-work.ts';
import { advanceMemoryBoundary, idleConversations } from '../postgres/memory-boundary.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';

/** A conversation is idle when nobody wrote for this long; extraction then sees whole exchanges, off the turn's path. */
const IDLE_MS = 10 * 60_000;
/** Children started by one sweep; the next one takes the rest. */
const SWEEP_LIMIT = 100;

export function createMemoryActivities(deps: { readonly stores: Stores; readonly logger: Logger }) {
  const findIdleConversations = async (): Promise<IdleConversation[]> => {
    const found = await Promise.all(
      deps.stores.primaries.map((db) => idleConversations(db, IDLE_MS, SWEEP_LIMIT)),
    );
    return found.flat();
  };

  /** Moves the boundary to `lastTurnId`, once. Facts will be stored in the same transaction. */
  const extractMemory = async (idle: IdleConversation): Promise<void> => {
    const db = deps.stores.primaryOf(idle.userId);
    const moved = await advanceMemoryBoundary(db, idle.conversationId, idle.lastTurnId);
    deps.logger.info({ conversationId: idle.conversationId, moved }, 'memory boundary');
  };

  return translateFailures({ findIdleConversations, extractMemory }, deps.logger);
}
