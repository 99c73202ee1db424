// Starts erasures. A repeat joins the one that runs; one that has ended is simply done again.
import type { Client } from '@temporalio/client';
import {
  conversationErasureId,
  ERASE_CONVERSATION,
  ERASE_ORGANISATION,
  ERASE_USER,
  organisationErasureId,
  userErasureId,
} from '../contracts/erasure.ts';
import type { ErasureDispatch } from '../contracts/erasure.ts';
import { AppError } from '../contracts/errors.ts';
import type { OrgId } from '../contracts/ids.ts';
import { BACKGROUND_TASK_QUEUE } from '../contracts/turn-workflow.ts';

/** As for turns: the caller waits with an open connection. */
const CALL_TIMEOUT_MS = 1500;

export function createErasureDispatch(
  client: Client,
): ErasureDispatch & { eraseOrganisation(orgId: OrgId): Promise<void> } {
  const start = async (type: string, workflowId: string, arg: object): Promise<void> => {
    await client
      .withDeadline(Date.now() + CALL_TIMEOUT_MS, () =>
        client.workflow.start(type, {
          taskQueue: BACKGROUND_TASK_QUEUE,
          workflowId,
          args: [arg],
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
      )
      .catch((error: unknown) => {
        throw new AppError('WORKFLOW_UNAVAILABLE', { cause: error });
      });
  };
  return {
    eraseConversation: (erasure) =>
      start(ERASE_CONVERSATION, conversationErasureId(erasure.conversationId), erasure),
    eraseUser: (userId) => start(ERASE_USER, userErasureId(userId), { userId }),
    eraseOrganisation: (orgId) =>
      start(ERASE_ORGANISATION, organisationErasureId(orgId), { orgId }),
  };
}
