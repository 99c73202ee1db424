// True deletion as durable workflows: ids in, counts out. A conversation is one step; a user is as many steps as they have
// conversations, twenty at a time; an organisation is its users, one after the other.
import {
  continueAsNew,
  defineQuery,
  executeChild,
  ParentClosePolicy,
  proxyActivities,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { createErasureActivities } from '../activities/erasure.ts';
import { addCounts, NOTHING_ERASED, userErasureId } from '../contracts/erasure.ts';
import type { ConversationErasure, ErasureCounts, ErasureResult } from '../contracts/erasure.ts';
import type { OrgId, UserId } from '../contracts/ids.ts';

// It must happen: whatever is away is waited for.
const steps = proxyActivities<ReturnType<typeof createErasureActivities>>({
  startToCloseTimeout: '10m',
  heartbeatTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '60s' },
});

/** What has been removed so far. */
export const erasureProgress = defineQuery<ErasureCounts>('progress');

/** Gateways believe a key for a moment after it is gone (gateway/authenticate.ts): what comes in by then is erased too. */
const KEYS_BELIEVED = '3s';

export async function eraseConversation(erasure: ConversationErasure): Promise<ErasureCounts> {
  const erased = await steps.eraseConversationData(erasure);
  await steps.recordErased('conversation', erasure.conversationId, erased);
  return erased;
}

export async function eraseUser({
  userId,
  before = NOTHING_ERASED,
}: {
  readonly userId: UserId;
  /** Of the runs before this one. */
  readonly before?: ErasureCounts;
}): Promise<ErasureResult> {
  let erased = before;
  setHandler(erasureProgress, () => erased);
  if (workflowInfo().continuedFromExecutionRunId === undefined) {
    await steps.closeAccount(userId);
    await sleep(KEYS_BELIEVED);
  }
  for (let isDone = false; !isDone;) {
    for (let some = await steps.eraseSomeConversations(userId); some.conversations > 0;) {
      erased = addCounts(erased, some);
      if (workflowInfo().continueAsNewSuggested)
        await continueAsNew<typeof eraseUser>({ userId, before: erased });
      some = await steps.eraseSomeConversations(userId);
    }
    const account = await steps.eraseAccount(userId);
    erased = addCounts(erased, account);
    ({ isDone } = account);
  }
  const left = await steps.countLeft(userId);
  await steps.recordErased('user', userId, erased);
  return { erased, left };
}

export async function eraseOrganisation({
  orgId,
  before = { erased: NOTHING_ERASED, left: NOTHING_ERASED },
}: {
  readonly orgId: OrgId;
  readonly before?: ErasureResult;
}): Promise<ErasureResult> {
  let { erased, left } = before;
  setHandler(erasureProgress, () => erased);
  for (let users = await steps.usersOf(orgId); users.length > 0;) {
    for (const userId of users) {
      const result = await executeChild(eraseUser, {
        workflowId: userErasureId(userId),
        args: [{ userId }],
        parentClosePolicy: ParentClosePolicy.ABANDON,
      });
      erased = addCounts(erased, result.erased);
      left = addCounts(left, result.left);
    }
    if (workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof eraseOrganisation>({ orgId, before: { erased, left } });
    users = await steps.usersOf(orgId);
  }
  await steps.eraseOrganisationRow(orgId);
  await steps.recordErased('organisation', orgId, erased);
  return { erased, left };
}
