// Conversations: make, list, read, change, delete.
import type { Request, Response, Router } from 'express';
import { endAndRemove } from '../../activities/erasure.ts';
import { changeConversationBody, createConversationBody, listQuery } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import { isUuid, newConversationId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { lastReplyBelow } from '../../conversation/tree.ts';
import { chooseModel } from '../../policy/model-choice.ts';
import { moveActiveTurn } from '../../postgres/active-turn.ts';
import {
  changeConversation,
  findConversation,
  findConversationWithRunning,
  insertConversation,
  listConversations,
} from '../../postgres/conversations.ts';
import type {
  ConversationChange,
  RunningTurn,
  StoredConversation,
} from '../../postgres/conversations.ts';
import { deleteConversation } from '../../postgres/erasure.ts';
import { historyPage } from '../../postgres/history.ts';
import type { TurnLink } from '../../postgres/history.ts';
import type { Db, Pool } from '../../postgres/pool.ts';
import { runningTurns } from '../../postgres/turn-requests.ts';
import { principalOf } from '../authenticate.ts';
import { cancelTurn } from '../cancel-turn.ts';
import type { GatewayDeps } from '../deps.ts';
import { TurnConflict } from '../error-handler.ts';
import { badCursor, listCursor, parseListCursor, wireConversation, wireTurn } from '../wire.ts';

const DEFAULT_LIMIT = 50;

export function addConversationRoutes(router: Router, deps: GatewayDeps): void {
  const { stores, catalog, recentTurns } = deps;

  router.post('/v1/conversations', async (request, response) => {
    const { userId, orgId, tier } = principalOf(response);
    const body = createConversationBody.parse(request.body);
    const choice = chooseModel(
      { tier, requestedModel: body.model ?? null, conversationModel: null, reasoning: false },
      catalog,
    );
    if (!choice.isAllowed)
      throw new AppError(choice.why === 'forbidden' ? 'FORBIDDEN' : 'INVALID_REQUEST', {
        message: choice.message,
        param: 'model',
      });
    if (body.region !== undefined && body.region !== catalog.region) {
      throw new AppError('INVALID_REQUEST', {
        message: 'region: this service does not keep data there.',
        param: 'region',
      });
    }
    const conversationId = newConversationId();
    const { model } = choice.route;
    await insertConversation(stores.primaryOf(userId), {
      conversationId,
      userId,
      orgId,
      model,
      region: catalog.region,
      systemPrompt: body.system_prompt ?? null,
      title: body.title ?? null,
    });
    response.status(201).json({ conversation_id: conversationId, region: catalog.region, model });
  });

  router.get('/v1/conversations', async (request, response) => {
    const { before, limit = DEFAULT_LIMIT } = listQuery.parse(request.query);
    const place = before === undefined ? null : parseListCursor(before);
    const { userId } = principalOf(response);
    const db = await stores.readerOf(userId, null);
    const found = await listConversations(db, userId, place, limit + 1);
    const shown = found.slice(0, limit);
    const last = found.length > limit ? shown.at(-1) : undefined;
    response.json({
      conversations: shown.map(wireConversation),
      next_cursor: last === undefined ? null : listCursor(last),
    });
  });

  router.get('/v1/conversations/:id', async (request, response) => {
    const { before, limit = DEFAULT_LIMIT } = listQuery.parse(request.query);
    if (before !== undefined && !isUuid(before)) throw badCursor();
    const { userId } = principalOf(response);
    const db = await stores.readerOf(userId, conversationIdOf(request));
    const conversation = await conversationOf(db, request, response);
    const { conversationId, lastTurnId, version } = conversation;
    const { turns, hasMore } = await (before === undefined
      ? recentTurns(db, { conversationId, version, lastTurnId, upTo: null, limit })
      : historyPage(db, conversationId, lastTurnId, { before: before as TurnId }, limit));
    response.json({
      conversation: wireConversation(conversation),
      turns: turns.map(wireTurn),
      next_cursor: hasMore ? (turns[0]?.turnId ?? null) : null,
    });
  });

  router.patch('/v1/conversations/:id', async (request, response) => {
    const body = changeConversationBody.parse(request.body);
    const { userId } = principalOf(response);
    const db = stores.primaryOf(userId);
    const id = conversationIdOf(request);
    const change = {
      title: body.title,
      isArchived: body.archived,
      isMemoryEnabled: body.memory_enabled,
      isTrainingEligible: body.training_eligible,
    };
    const changed =
      body.active_turn_id === undefined
        ? await changeConversation(db, userId, id, change)
        : await chooseBranch(db, userId, id, body.active_turn_id.toLowerCase() as TurnId, change);
    if (changed === null) throw new AppError('CONVERSATION_NOT_FOUND');
    noTurnChanged(deps, changed);
    response.json({ conversation: wireConversation(changed) });
  });

  router.delete('/v1/conversations/:id', async (request, response) => {
    const { userId } = principalOf(response);
    const db = stores.primaryOf(userId);
    const { conversationId } = await conversationOf(db, request, response);
    await Promise.all(
      (await runningTurns(db, conversationId)).map(({ turnId }) =>
        cancelTurn(deps, conversationId, turnId),
      ),
    );
    // Durably first: executions and whatever we do not get to if this process dies now.
    await deps.erasure.eraseConversation({ userId, conversationId });
    // And at once: who asks next finds nothing.
    const deleted = await deleteConversation(db, userId, conversationId);
    await Promise.all([
      deps.cache.remove(conversationId),
      ...(deleted?.turns ?? []).map((turn) => endAndRemove(deps.turnLog, turn)),
    ]);
    response.status(204).end();
  });
}

/**
 * The conversation goes on behind the last reply of the branch through a turn.
 * @throws AppError TURN_NOT_FOUND, INVALID_REQUEST, TURN_CONFLICT
 */
async function chooseBranch(
  pool: Pool,
  userId: UserId,
  id: ConversationId,
  turnId: TurnId,
  change: ConversationChange,
): Promise<StoredConversation | null> {
  const endOf = (turns: readonly TurnLink[]): TurnId | null =>
    lastReplyBelow(turns, turnId)?.turnId ?? null;
  const outcome = await moveActiveTurn(pool, userId, id, { turnId, endOf }, change);
  switch (outcome.kind) {
    case 'moved':
      return outcome.conversation;
    case 'no-conversation':
      return null;
    case 'no-turn':
      throw new AppError('TURN_NOT_FOUND');
    case 'no-end':
      throw new AppError('INVALID_REQUEST', {
        message: 'active_turn_id: must name a turn that has a reply.',
        param: 'active_turn_id',
      });
    case 'running':
      throw new TurnConflict(outcome.turnId);
  }
}

/** The turns are those of the version before: what is cached of them stays good. */
function noTurnChanged({ cache }: GatewayDeps, changed: StoredConversation): void {
  void cache.append(changed.conversationId, changed.version, []).catch(() => undefined);
}

/** The id in the path. @throws AppError CONVERSATION_NOT_FOUND: what has not the form of an id cannot exist */
export function conversationIdOf(request: Request): ConversationId {
  const id = request.params['id'];
  if (typeof id !== 'string' || !isUuid(id)) throw new AppError('CONVERSATION_NOT_FOUND');
  return id.toLowerCase() as ConversationId;
}

/** The caller's conversation. @throws AppError CONVERSATION_NOT_FOUND, the same for foreign, deleted and absent */
export async function conversationOf(
  db: Db,
  request: Request,
  response: Response,
): Promise<StoredConversation> {
  const userId: UserId = principalOf(response).userId;
  const found = await findConversation(db, userId, conversationIdOf(request));
  if (found === null) throw new AppError('CONVERSATION_NOT_FOUND');
  return found;
}

/** The same, with its turns that have not ended. @throws AppError CONVERSATION_NOT_FOUND */
export async function conversationAndRunning(
  db: Db,
  request: Request,
  response: Response,
): Promise<{
  conversation: StoredConversation;
  running: readonly RunningTurn[];
  hasMemory: boolean;
}> {
  const { userId } = principalOf(response);
  const found = await findConversationWithRunning(db, userId, conversationIdOf(request));
  if (found === null) throw new AppError('CONVERSATION_NOT_FOUND');
  return found;
}
