// Summaries around their making: who lacks some, which, and when they come into force. Ids and counts in, ids and counts out.
import type {
  SummaryTask,
  SummaryWork,
  UnsummarisedConversation,
} from '../contracts/background-work.ts';
import { poolTaskQueue } from '../contracts/catalog.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { TurnId } from '../contracts/ids.ts';
import { TEMPLATE_TOKENS } from '../conversation/stored-cost.ts';
import { summariesDue } from '../conversation/summary-plan.ts';
import type { Stores } from '../postgres/stores.ts';
import {
  branchTail,
  claimUnsummarised,
  markSeen,
  publishSummaries,
} from '../postgres/summaries.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';

/** Conversations that one sweep looks at; the next one takes the rest. */
const SWEEP_LIMIT = 500;
/** Summaries made before they come into force: a very long conversation is worked off in pieces. */
const BATCH = 16;

export interface SummaryDeps {
  readonly stores: Stores;
  readonly catalog: Catalog;
  readonly logger: Logger;
}

export function createSummaryActivities({ stores, catalog, logger }: SummaryDeps) {
  const findUnsummarised = async (): Promise<UnsummarisedConversation[]> => {
    if (catalog.prompt.summary_tokens === 0) return [];
    const found = await Promise.all(
      stores.primaries.map((db) => claimUnsummarised(db, leastWindow(catalog), SWEEP_LIMIT)),
    );
    return found.flat();
  };

  const planSummaries = async (behind: UnsummarisedConversation): Promise<SummaryWork> => {
    const { conversationId, userId, lastTurnId, model } = behind;
    const pool = catalog.models[model]?.pool;
    if (pool === undefined) return { tasks: [], through: null };
    const db = stores.primaryOf(userId);
    const { cover, tail } = await branchTail(db, conversationId, lastTurnId);
    const due = summariesDue(
      cover,
      tail.map(({ tokens, ...turn }) => ({ ...turn, cost: tokens + TEMPLATE_TOKENS })),
      {
        windowTokens: windowOf(catalog, pool),
        span: catalog.prompt.summary_span,
        fanOut: catalog.prompt.summary_fan_out,
      },
      BATCH,
    );
    const taskQueue = poolTaskQueue(pool);
    const tasks = due.map((each): SummaryTask => ({ conversationId, userId, taskQueue, ...each }));
    return { tasks, through: tasks.at(-1)?.lastTurnId ?? null };
  };

  /** What was made tells everything up to `through` from now on. */
  const publish = async (behind: UnsummarisedConversation, through: TurnId): Promise<void> => {
    const { conversationId, userId } = behind;
    const isThere = await publishSummaries(stores.primaryOf(userId), conversationId, through);
    logger.info({ conversationId, isThere }, 'summaries in force');
  };

  const closeSummaries = async (behind: UnsummarisedConversation): Promise<void> =>
    markSeen(stores.primaryOf(behind.userId), behind.conversationId, behind.lastTurnId);

  return translateFailures(
    { findUnsummarised, planSummaries, publishSummaries: publish, closeSummaries },
    logger,
  );
}

/** Half of a context at least is the recent turns' own and the reply's. */
function windowOf({ prompt, pools }: Catalog, pool: string): number {
  const contextLength = pools[pool]?.context_length ?? Infinity;
  return Math.min(prompt.window_tokens, Math.floor(contextLength / 2));
}

function leastWindow(catalog: Catalog): number {
  return Math.min(...Object.keys(catalog.pools).map((pool) => windowOf(catalog, pool)));
}
