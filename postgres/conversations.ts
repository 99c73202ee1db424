// Conversations of one user. Every statement names the owner: what is not theirs is not there.
import type { ConversationId, OrgId, TurnId, UserId } from '../contracts/ids.ts';
import { row, rows } from './pool.ts';
import { IS_MEMORY_ON } from './user-settings.ts';
import type { Db } from './pool.ts';

export interface StoredConversation {
  readonly conversationId: ConversationId;
  readonly model: string;
  readonly region: string;
  readonly systemPrompt: string | null;
  readonly title: string | null;
  readonly activeTurnId: TurnId | null;
  /** The newest turn stored; null when there is none, or nobody noted it (rows from before it was kept). */
  readonly lastTurnId: TurnId | null;
  /** Counts the changes that a reader can see. */
  readonly version: number;
  readonly archivedAt: Date | null;
  /** Facts are learnt from it and told to its turns, unless the user has switched memory off altogether. */
  readonly isMemoryEnabled: boolean;
  readonly isTrainingEligible: boolean;
  readonly createdAt: Date;
  readonly lastTurnAt: Date;
}

export interface NewConversation {
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly orgId: OrgId;
  readonly model: string;
  readonly region: string;
  readonly systemPrompt: string | null;
  readonly title: string | null;
}

export async function insertConversation(db: Db, each: NewConversation): Promise<void> {
  await rows(
    db,
    `insert into conversations (conversation_id, user_id, org_id, model, region, system_prompt, title, training_eligible)
     values ($1, $2, $3, $4, $5, $6, $7, coalesce((select training_eligible from user_settings where user_id = $2), false))`,
    [
      each.conversationId,
      each.userId,
      each.orgId,
      each.model,
      each.region,
      each.systemPrompt,
      each.title,
    ],
  );
}

export async function findConversation(
  db: Db,
  userId: UserId,
  id: ConversationId,
): Promise<StoredConversation | null> {
  const found = await row<ConversationRow>(
    db,
    `${SELECT} where conversation_id = $1 and user_id = $2`,
    [id, userId],
  );
  return found === null ? null : toConversation(found);
}

/** A turn whose reply is not stored yet. */
export interface RunningTurn {
  readonly turnId: TurnId;
  readonly numSamples: number;
  readonly parentTurnId: TurnId | null;
}

/** A conversation, its running turns, oldest first, and whether there are facts for it: what a new turn has to fit into. */
export async function findConversationWithRunning(
  db: Db,
  userId: UserId,
  id: ConversationId,
): Promise<{
  conversation: StoredConversation;
  running: readonly RunningTurn[];
  hasMemory: boolean;
} | null> {
  const found = await row<ConversationRow & { running: RunningTurn[] | null; has_memory: boolean }>(
    db,
    `select ${COLUMNS}, (
       select json_agg(json_build_object('turnId', turn_id, 'parentTurnId', parent_turn_id,
         'numSamples', coalesce((params ->> 'n')::integer, 1)) order by turn_id)
       from turn_requests r where r.conversation_id = c.conversation_id and ended_at is null
     ) as running, (
       ${IS_MEMORY_ON}
       and exists (select 1 from user_memory m where m.user_id = c.user_id)
     ) as has_memory
     from conversations c where conversation_id = $1 and user_id = $2`,
    [id, userId],
  );
  if (found === null) return null;
  return {
    conversation: toConversation(found),
    running: found.running ?? [],
    hasMemory: found.has_memory,
  };
}

/** A place in the list: everything after it is older. */
export interface ListPlace {
  readonly lastTurnAt: Date;
  readonly conversationId: ConversationId;
}

/** Newest first, from `before` on. */
export async function listConversations(
  db: Db,
  userId: UserId,
  before: ListPlace | null,
  limit: number,
): Promise<StoredConversation[]> {
  const found = await rows<ConversationRow>(
    db,
    `${SELECT} where user_id = $1 and ($2::timestamptz is null or (date_trunc('milliseconds', last_turn_at), conversation_id) < ($2, $3))
     order by date_trunc('milliseconds', last_turn_at) desc, conversation_id desc limit $4`,
    [userId, before?.lastTurnAt ?? null, before?.conversationId ?? null, limit],
  );
  return found.map(toConversation);
}

/** All of a user's in order of id, from `after` on: an order that nothing changes meanwhile. */
export async function conversationsAfter(
  db: Db,
  userId: UserId,
  after: ConversationId | null,
  limit: number,
): Promise<StoredConversation[]> {
  const found = await rows<ConversationRow>(
    db,
    `${SELECT} where user_id = $1 and ($2::uuid is null or conversation_id > $2) order by conversation_id limit $3`,
    [userId, after, limit],
  );
  return found.map(toConversation);
}

export interface ConversationChange {
  readonly title?: string | null | undefined;
  readonly isArchived?: boolean | undefined;
  /** Only under moveActiveTurn's lock. */
  readonly activeTurnId?: TurnId | undefined;
  readonly isMemoryEnabled?: boolean | undefined;
  readonly isTrainingEligible?: boolean | undefined;
}

/** Renames, archives, switches; null when there is no such conversation. */
export async function changeConversation(
  db: Db,
  userId: UserId,
  id: ConversationId,
  change: ConversationChange,
): Promise<StoredConversation | null> {
  const changed = await row<ConversationRow>(
    db,
    `update conversations set
       version = version + 1,
       title = case when $3 then $4 else title end,
       archived_at = case when $5::boolean is null then archived_at when $5 then coalesce(archived_at, now()) end,
       active_turn_id = coalesce($6, active_turn_id),
       memory_enabled = coalesce($7, memory_enabled),
       training_eligible = coalesce($8, training_eligible)
     where conversation_id = $1 and user_id = $2 returning ${COLUMNS}`,
    [
      id,
      userId,
      change.title !== undefined,
      change.title ?? null,
      change.isArchived ?? null,
      change.activeTurnId ?? null,
      change.isMemoryEnabled ?? null,
      change.isTrainingEligible ?? null,
    ],
  );
  return changed === null ? null : toConversation(changed);
}

interface ConversationRow {
  conversation_id: ConversationId;
  model: string;
  region: string;
  system_prompt: string | null;
  title: string | null;
  active_turn_id: TurnId | null;
  last_turn_id: TurnId | null;
  version: number;
  archived_at: Date | null;
  memory_enabled: boolean;
  training_eligible: boolean;
  created_at: Date;
  last_turn_at: Date;
}

const COLUMNS = `conversation_id, model, region, system_prompt, title, active_turn_id, last_turn_id, version, archived_at,
  memory_enabled, training_eligible, created_at, last_turn_at`;
const SELECT = `select ${COLUMNS} from conversations`;

function toConversation(each: ConversationRow): StoredConversation {
  return {
    conversationId: each.conversation_id,
    model: each.model,
    region: each.region,
    systemPrompt: each.system_prompt,
    title: each.title,
    activeTurnId: each.active_turn_id,
    lastTurnId: each.last_turn_id,
    version: each.version,
    archivedAt: each.archived_at,
    isMemoryEnabled: each.memory_enabled,
    isTrainingEligible: each.training_eligible,
    createdAt: each.created_at,
    lastTurnAt: each.last_turn_at,
  };
}
