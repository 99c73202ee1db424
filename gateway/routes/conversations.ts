// Conversations: make, list, read, change, delete.
import type { Request, Response, Router } from 'express';
import { endAndRemove } from '../../activities/erasure.ts';
import { changeConversationBody, createConversationBody, listQuery } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import { isUuid, newConversationId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { chooseModel } from '../../policy/model-choice.ts';
import {
  changeConversation,
  findConversation,
  findConversationWithRunning,
  insertConversation,
  listConversations,
} from '../../postgres/conversations.ts';
import type { RunningTurn, StoredConversation } from '../../postgres/conversations.ts';
import { deleteConversation } from '../../postgres/erasure.ts';
import { historyPage } from '../../postgres/history.ts';
import type { Db } from '../../postgres/pool.ts';
import { runningTurns } from '../../postgres/turn-requests.ts';
import { principalOf } from '../authenticate.ts';
import { cancelTurn } from '../cancel-turn.ts';
import type { GatewayDeps } from '../deps.ts';
import { badCursor, listCursor, parseListCursor, wireConversation, wireTurn } from '../wire.ts';

const DEFAULT_LIMIT = 50;

export function addConversationRoutes(router: Router, deps: GatewayDeps): void {
  const { stores, catalog } = deps;

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
    const { turns, hasMore } = await historyPage(
      db,
      conversation.conversationId,
      (before as TurnId | undefined) ?? null,
      limit,
    );
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
    const changed = await changeConversation(db, userId, conversationIdOf(request), {
      title: body.title,
      isArchived: body.archived,
    });
    if (changed === null) throw new AppError('CONVERSATION_NOT_FOUND');
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
    // Durably first: caches, executions and whatever we do not get to if this process dies now.
    await deps.erasure.eraseConversation({ userId, conversationId });
    // And at once: who asks next finds nothing.
    const deleted = await deleteConversation(db, userId, conversationId);
    await Promise.all((deleted?.turns ?? []).map((turn) => endAndRemove(deps.turnLog, turn)));
    response.status(204).end();
  });
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
): Promise<{ conversation: StoredConversation; running: readonly RunningTurn[] }> {
  const { userId } = principalOf(response);
  const found = await findConversationWithRunning(db, userId, conversationIdOf(request));
  if (found === null) throw new AppError('CONVERSATION_NOT_FOUND');
  return found;
}
