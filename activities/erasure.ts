// The steps of true deletion. Each may be repeated: what is gone is simply not found again. Turns that run are cancelled
// first, so that nothing is written behind the deletion's back.
import { Context } from '@temporalio/activity';
import { closingEntries, toWireUsage } from '../contracts/closing-entries.ts';
import {
  addCounts,
  conversationWorkflowPrefixes,
  NOTHING_ERASED,
  turnOfWorkflow,
} from '../contracts/erasure.ts';
import type { ConversationCache } from '../contracts/conversation-cache.ts';
import type { ConversationErasure, ErasureCounts } from '../contracts/erasure.ts';
import type { ConversationId, OrgId, TurnId, UserId } from '../contracts/ids.ts';
import { sampleTurnIds } from '../contracts/samples.ts';
import type { TurnDispatch } from '../contracts/turn-dispatch.ts';
import { ZERO_USAGE } from '../contracts/turn-facts.ts';
import type { TurnLogWriter } from '../contracts/turn-log.ts';
import {
  closeAccount,
  deleteAccount,
  deleteConversation,
  deleteOrganisation,
  deleteUserRows,
  recordErasure,
  rowsLeft,
  someConversations,
  someUsers,
  unlinkLedger,
} from '../postgres/erasure.ts';
import type { DeletedConversation, DeletedTurn, ErasureKind } from '../postgres/erasure.ts';
import type { Stores } from '../postgres/stores.ts';
import { runningTurns } from '../postgres/turn-requests.ts';
import type { Executions } from '../process/executions.ts';
import type { Logger } from '../process/logger.ts';
import { forgetUser, userKeysLeft } from '../redis/forgetting.ts';
import type { Redis } from '../redis/connection.ts';
import { translateFailures } from './failure.ts';

export interface ErasureDeps {
  /** Their primaries see everybody. */
  readonly stores: Stores;
  readonly turnLog: TurnLogWriter;
  readonly cache: ConversationCache;
  readonly redis: Redis;
  readonly dispatch: TurnDispatch;
  readonly executions: Executions;
  readonly logger: Logger;
}

/** Conversations erased by one step: seconds of work, and one event in the history. */
const CONVERSATIONS_A_STEP = 20;
const USERS_A_STEP = 100;
const EXECUTIONS_AT_ONCE = 200;

export function createErasureActivities(deps: ErasureDeps) {
  const { stores, logger } = deps;

  /** All that is left of some of a user's conversations; its count is 0 when there are none any more. */
  const eraseSomeConversations = async (userId: UserId): Promise<ErasureCounts> => {
    const db = stores.primaryOf(userId);
    let erased = NOTHING_ERASED;
    for (const conversationId of await someConversations(db, userId, CONVERSATIONS_A_STEP)) {
      erased = addCounts(erased, await eraseOne(deps, { userId, conversationId }));
      Context.current().heartbeat();
    }
    return erased;
  };

  /** What hangs on no conversation. The account itself stays while conversations are there: then this is asked again. */
  const eraseAccount = async (
    userId: UserId,
  ): Promise<ErasureCounts & { readonly isDone: boolean }> => {
    const db = stores.primaryOf(userId);
    if ((await someConversations(db, userId, 1)).length > 0)
      return { ...NOTHING_ERASED, isDone: false };
    const numRows = await deleteUserRows(db, userId);
    for (const primary of stores.primaries) await unlinkLedger(primary, userId);
    const keys = await forgetUser(deps.redis, userId);
    const numAccountRows = await deleteAccount(stores.directory, userId);
    return { ...NOTHING_ERASED, rows: numRows + numAccountRows, keys, isDone: true };
  };

  /** Looks in every database, whichever the user was in. */
  const countLeft = async (userId: UserId): Promise<ErasureCounts> => {
    const counted = await Promise.all(stores.primaries.map((primary) => rowsLeft(primary, userId)));
    return {
      ...NOTHING_ERASED,
      rows: counted.reduce((sum, each) => sum + each, 0),
      keys: await userKeysLeft(deps.redis, userId),
    };
  };

  const record = async (
    kind: ErasureKind,
    subjectId: string,
    counts: ErasureCounts,
  ): Promise<void> => {
    await recordErasure(stores.directory, kind, subjectId, counts);
    logger.info({ kind, subjectId, ...counts }, 'erased');
  };

  return translateFailures(
    {
      eraseConversationData: (erasure: ConversationErasure) => eraseOne(deps, erasure),
      closeAccount: (userId: UserId) => closeAccount(stores.directory, userId),
      eraseSomeConversations,
      eraseAccount,
      countLeft,
      usersOf: (orgId: OrgId) => someUsers(stores.directory, orgId, USERS_A_STEP),
      eraseOrganisationRow: (orgId: OrgId) => deleteOrganisation(stores.directory, orgId),
      recordErased: record,
    },
    logger,
  );
}

/** Cancels, deletes rows, ends and removes logs, forgets the cache, deletes executions, in this order. */
async function eraseOne(
  deps: ErasureDeps,
  { userId, conversationId }: ConversationErasure,
): Promise<ErasureCounts> {
  const db = deps.stores.primaryOf(userId);
  for (const { turnId } of await runningTurns(db, conversationId)) {
    await Promise.all([deps.turnLog.cancel(turnId), deps.dispatch.cancel(conversationId, turnId)]);
  }
  return removeTraces(deps, conversationId, await deleteConversation(db, userId, conversationId));
}

/** What is left of a conversation beside its rows. @param deleted those, or null when they went earlier */
export async function removeTraces(
  deps: ErasureDeps,
  conversationId: ConversationId,
  deleted: DeletedConversation | null,
): Promise<ErasureCounts> {
  for (const turn of deleted?.turns ?? []) await endAndRemove(deps.turnLog, turn);
  const executions = await eraseExecutions(deps, conversationId);
  await deps.cache.remove(conversationId);
  return {
    conversations: deleted === null ? 0 : 1,
    rows: deleted?.numRows ?? 0,
    keys: deleted?.turns.length ?? 0,
    executions,
  };
}

/** Readers of a running turn get their end; then nothing of its log is left. */
export async function endAndRemove(
  turnLog: TurnLogWriter,
  { turnId, numSamples }: DeletedTurn,
): Promise<void> {
  const usage = toWireUsage(ZERO_USAGE, 0);
  const samples = sampleTurnIds(turnId, numSamples).map((each) => ({
    turnId: each,
    finishReason: 'cancelled' as const,
    usage,
  }));
  await turnLog.end(turnId, closingEntries({ samples, errorCode: null, verdict: null }));
  await turnLog.remove(turnId);
}

/** A turn's id names its log too: one that was made again meanwhile, or whose row went with another's half-done work, goes here. */
async function eraseExecutions(
  { executions, turnLog }: ErasureDeps,
  conversationId: ConversationId,
): Promise<number> {
  const gone = new Set<string>();
  for (const prefix of conversationWorkflowPrefixes(conversationId)) {
    for (;;) {
      const found = await executions.find(prefix, EXECUTIONS_AT_ONCE);
      // What is deleted may be listed a moment longer; the server takes it off the list by itself.
      const fresh = found.filter(({ runId }) => !gone.has(runId));
      if (fresh.length === 0) break;
      for (const execution of fresh) {
        await executions.delete(execution);
        gone.add(execution.runId);
        const turnId: TurnId | null = turnOfWorkflow(execution.workflowId);
        if (turnId !== null) await turnLog.remove(turnId);
        Context.current().heartbeat();
      }
    }
  }
  return gone.size;
}
