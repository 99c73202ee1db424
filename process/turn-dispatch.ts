// Starting and cancelling turn workflows. With the connection of an embedded worker the start is eager: its first
// workflow task comes back with the answer and runs in this very process.
import {
  Client,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import {
  defineSearchAttributeKey,
  SearchAttributeType,
  TypedSearchAttributes,
} from '@temporalio/common';
import type { NativeConnection } from '@temporalio/worker';
import type { Catalog } from '../contracts/catalog.ts';
import { AppError } from '../contracts/errors.ts';
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { TurnDispatch } from '../contracts/turn-dispatch.ts';
import { TURN_TASK_QUEUE, TURN_WORKFLOW, turnWorkflowId } from '../contracts/turn-workflow.ts';
import type { TurnInput } from '../contracts/turn-workflow.ts';
import type { Config } from './config.ts';

const TIER = defineSearchAttributeKey('Tier', SearchAttributeType.KEYWORD);
const POOL = defineSearchAttributeKey('Pool', SearchAttributeType.KEYWORD);
const MODEL = defineSearchAttributeKey('Model', SearchAttributeType.KEYWORD);
const CONVERSATION_ID = defineSearchAttributeKey('ConversationId', SearchAttributeType.KEYWORD);

/** A start that takes longer is refused: the caller waits with an open connection. */
const CALL_TIMEOUT_MS = 1500;

export interface DispatchOptions {
  readonly connection: NativeConnection;
  readonly settings: Config['temporal'];
  readonly catalog: Catalog;
  /** This process runs a worker of the turn queue on `connection`. */
  readonly isEager: boolean;
}

export function createTurnDispatch({
  connection,
  settings,
  catalog,
  isEager,
}: DispatchOptions): TurnDispatch & { readonly client: Client } {
  const client = new Client({ connection, namespace: settings.namespace });
  const call = <Result>(work: () => Promise<Result>): Promise<Result> =>
    client.withDeadline(Date.now() + CALL_TIMEOUT_MS, work).catch((error: unknown) => {
      throw new AppError('WORKFLOW_UNAVAILABLE', { cause: error });
    });

  const start = async (turn: TurnInput): Promise<void> => {
    await call(() =>
      client.workflow
        .start(TURN_WORKFLOW, {
          taskQueue: TURN_TASK_QUEUE,
          workflowId: turnWorkflowId(turn.conversationId, turn.turnId),
          args: [turn],
          requestEagerStart: isEager,
          workflowIdReusePolicy: 'REJECT_DUPLICATE',
          workflowIdConflictPolicy: 'USE_EXISTING',
          // A process that dies or freezes with a workflow task in hand is noticed after this. Steps that take longer than
          // four fifths of it are reported on the way, so it bounds nothing else.
          workflowTaskTimeout: '3s',
          // The bound on «generating»: ten minutes to generate, ten to store.
          workflowExecutionTimeout: '25m',
          typedSearchAttributes: new TypedSearchAttributes([
            { key: TIER, value: turn.tier },
            { key: POOL, value: turn.pool },
            { key: MODEL, value: turn.model },
            { key: CONVERSATION_ID, value: turn.conversationId },
          ]),
          priority: { priorityKey: catalog.tiers[turn.tier].priority },
          staticSummary: `${turn.tier} turn on ${turn.pool}`,
        })
        .catch((error: unknown) => {
          // It ran before and has ended: the caller reads its log or its row.
          if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        }),
    );
  };

  const cancel = (conversationId: ConversationId, turnId: TurnId): Promise<boolean> =>
    call(() =>
      client.workflow
        .getHandle(turnWorkflowId(conversationId, turnId))
        .signal('cancel')
        .then(() => true)
        .catch((error: unknown) => {
          if (error instanceof WorkflowNotFoundError) return false;
          throw error;
        }),
    );

  return { client, start, cancel };
}
