// What happens to data by the calendar: months made ahead and dropped behind, turns that are older than they may be, and what
// the stores' files keep of what was deleted.
import { Context } from '@temporalio/activity';
import type { Catalog } from '../contracts/catalog.ts';
import { NOTHING_ERASED } from '../contracts/erasure.ts';
import type { RetentionReport } from '../contracts/erasure.ts';
import { newRetentionId } from '../contracts/ids.ts';
import type { UserId } from '../contracts/ids.ts';
import {
  deleteConversation,
  markScrubbed,
  recordErasure,
  unscrubbed,
} from '../postgres/erasure.ts';
import { createTurnPartitions, dropExpiredMonths } from '../postgres/partitions.ts';
import {
  expiredConversations,
  longestHorizon,
  trimConversation,
  usersWithHorizon,
} from '../postgres/retention.ts';
import type { ExpiredConversation, TierDays, UserHorizon } from '../postgres/retention.ts';
import type { Pool } from '../postgres/pool.ts';
import { scrubDatabase } from '../postgres/scrub.ts';
import { rewriteFiles } from '../redis/forgetting.ts';
import { removeTraces } from './erasure.ts';
import type { ErasureDeps } from './erasure.ts';
import { translateFailures } from './failure.ts';

export interface RetentionDeps extends ErasureDeps {
  readonly catalog: Catalog;
  /** Of each primary, for the role that owns its tables. */
  readonly ownerUrls: readonly string[];
}

/** One step of a run: so many users, and what of theirs has expired. */
export interface RetentionStep extends RetentionReport {
  /** Where the next step begins; null = this was the last. */
  readonly next: UserId | null;
}

const USERS_A_STEP = 200;
const CONVERSATIONS_AT_ONCE = 100;

export function createRetentionActivities(deps: RetentionDeps) {
  const { stores, logger } = deps;
  const tierDays = daysOf(deps.catalog);

  const createPartitions = async (): Promise<number> => {
    const made = await Promise.all(stores.primaries.map((db) => createTurnPartitions(db)));
    return made.reduce((sum, each) => sum + each, 0);
  };

  /** Repeated from the same place it finds what is left: nothing of it is in memory only. */
  const expireTurns = async (after: UserId | null): Promise<RetentionStep> => {
    const users = await usersWithHorizon(stores.directory, tierDays, after, USERS_A_STEP);
    const total = { conversationsErased: 0, conversationsTrimmed: 0, turns: 0 };
    for (const db of users.length === 0 ? [] : stores.primaries) {
      for await (const expired of allExpired(db, users)) {
        const turns = await expire(deps, expired);
        if (turns === null) total.conversationsErased += 1;
        else {
          total.conversationsTrimmed += 1;
          total.turns += turns;
        }
        Context.current().heartbeat(expired.conversationId);
      }
    }
    if (total.conversationsErased + total.turns > 0) {
      // The run that did it, so that the files are scrubbed; whose turns they were is in nobody's interest any more.
      await recordErasure(stores.directory, 'retention', newRetentionId(), {
        ...NOTHING_ERASED,
        conversations: total.conversationsErased,
        rows: total.turns,
      });
    }
    const next = users.length < USERS_A_STEP ? null : (users.at(-1)?.userId ?? null);
    return { users: users.length, ...total, monthsDropped: 0, next };
  };

  const dropMonths = async (): Promise<number> => {
    const horizon = await longestHorizon(stores.directory, tierDays);
    let dropped = 0;
    for (const ownerUrl of deps.ownerUrls) {
      dropped += await dropExpiredMonths(ownerUrl, horizon);
      Context.current().heartbeat();
    }
    return dropped;
  };

  /** Cleans files after deletions, if there were any since it last did. @returns erasures that are out of the files now */
  const scrub = async (): Promise<number> => {
    const due = await unscrubbed(stores.directory);
    if (due === null) return 0;
    const heartbeat = (): void => Context.current().heartbeat();
    const nodes = await rewriteFiles(deps.redis, heartbeat);
    let tables = 0;
    for (const ownerUrl of deps.ownerUrls)
      tables += await scrubDatabase(ownerUrl, 'gentle', heartbeat);
    await markScrubbed(stores.directory, due.through);
    logger.info({ erasures: due.count, nodes, tables }, 'scrubbed');
    return due.count;
  };

  return translateFailures({ createPartitions, expireTurns, dropMonths, scrub }, logger);
}

/** @returns turns that went; null when the conversation went as a whole */
async function expire(deps: RetentionDeps, expired: ExpiredConversation): Promise<number | null> {
  const { userId, conversationId } = expired;
  const db = deps.stores.primaryOf(userId);
  if (expired.isIdle) {
    const deleted = await deleteConversation(db, userId, conversationId, expired.days);
    if (deleted !== null) {
      await removeTraces(deps, conversationId, deleted);
      return null;
    }
  }
  const turns = await trimConversation(db, expired);
  await deps.cache.remove(conversationId);
  return turns;
}

async function* allExpired(
  db: Pool,
  users: readonly UserHorizon[],
): AsyncGenerator<ExpiredConversation> {
  let last: ExpiredConversation | undefined;
  do {
    const page = await expiredConversations(
      db,
      users,
      last?.conversationId ?? null,
      CONVERSATIONS_AT_ONCE,
    );
    yield* page;
    last = page.at(-1);
  } while (last !== undefined);
}

function daysOf({ tiers }: Catalog): TierDays {
  return {
    free: tiers.free.retention_days,
    paid: tiers.paid.retention_days,
    enterprise: tiers.enterprise.retention_days,
  };
}
