// True deletion: what its workflows carry (ids and counts), how they are named, and how a gateway asks for one.
import type { ConversationId, OrgId, TurnId, UserId } from './ids.ts';

export interface ConversationErasure {
  readonly userId: UserId;
  readonly conversationId: ConversationId;
}

/** What was removed, or what is left, by kind. */
export interface ErasureCounts {
  readonly conversations: number;
  /** Rows of tables that hold what somebody wrote, or what was made of it. */
  readonly rows: number;
  /** Logs and cached entries in Redis. */
  readonly keys: number;
  /** Workflow executions: their histories name ids. */
  readonly executions: number;
}

export const NOTHING_ERASED: ErasureCounts = Object.freeze({
  conversations: 0,
  rows: 0,
  keys: 0,
  executions: 0,
});

export function addCounts(some: ErasureCounts, more: ErasureCounts): ErasureCounts {
  return {
    conversations: some.conversations + more.conversations,
    rows: some.rows + more.rows,
    keys: some.keys + more.keys,
    executions: some.executions + more.executions,
  };
}

/** Result of the erasure of a user or an organisation: the proof that nothing is left. */
export interface ErasureResult {
  readonly erased: ErasureCounts;
  readonly left: ErasureCounts;
}

/** What one run of retention did. */
export interface RetentionReport {
  readonly users: number;
  /** Conversations that went as a whole, and those that lost their oldest turns. */
  readonly conversationsErased: number;
  readonly conversationsTrimmed: number;
  readonly turns: number;
  readonly monthsDropped: number;
}

/** Workflow types. */
export const ERASE_CONVERSATION = 'eraseConversation';
export const ERASE_USER = 'eraseUser';
export const ERASE_ORGANISATION = 'eraseOrganisation';

export const conversationErasureId = (id: ConversationId): string => `erase/conversation/${id}`;
export const userErasureId = (id: UserId): string => `erase/user/${id}`;
export const organisationErasureId = (id: OrgId): string => `erase/organisation/${id}`;

/** Workflows of a conversation are named `<one of these>/<conversation>/…`. */
const CONVERSATION_WORKFLOWS = Object.freeze(['turn', 'memory', 'summary'] as const);

export function conversationWorkflowPrefixes(id: ConversationId): string[] {
  return CONVERSATION_WORKFLOWS.map((kind) => `${kind}/${id}`);
}

/** The turn that a workflow id names, or null. */
export function turnOfWorkflow(workflowId: string): TurnId | null {
  const [kind, , turnId] = workflowId.split('/');
  return kind === 'turn' && turnId !== undefined ? (turnId as TurnId) : null;
}

/** How a gateway has something erased: durably, so that it happens though everything dies now. */
export interface ErasureDispatch {
  /** @throws AppError WORKFLOW_UNAVAILABLE when the service does not take it in time; then nothing happens */
  eraseConversation(erasure: ConversationErasure): Promise<void>;
  /** @throws AppError WORKFLOW_UNAVAILABLE */
  eraseUser(userId: UserId): Promise<void>;
}
