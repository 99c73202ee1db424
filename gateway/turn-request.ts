// From a POST body to an accepted turn: which branch, which model, which parameters. Reads the store, changes nothing.
import { createHash } from 'node:crypto';
import type { TurnBody } from '../contracts/api.ts';
import type { Catalog } from '../contracts/catalog.ts';
import { AppError } from '../contracts/errors.ts';
import { newTurnId } from '../contracts/ids.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { AcceptedTurn, Principal } from '../contracts/turn-request.ts';
import type { RouteDecision } from '../contracts/turn-workflow.ts';
import { chooseModel } from '../policy/model-choice.ts';
import type { RunningTurn, StoredConversation } from '../postgres/conversations.ts';
import type { Db } from '../postgres/pool.ts';
import { findTurn } from '../postgres/turns.ts';
import { TurnConflict } from './error-handler.ts';
import { turnParamsOf } from './turn-params.ts';

export interface PlannedTurn {
  readonly turn: AcceptedTurn;
  /** No parent was named: it goes behind the last turn. */
  readonly isContinuation: boolean;
  readonly route: RouteDecision;
}

export interface AskedTurn {
  readonly body: TurnBody;
  readonly idempotencyKey: string | null;
  readonly principal: Principal;
  readonly conversation: StoredConversation;
  /** The conversation's turns that have not ended, as of when it was looked up. */
  readonly running: readonly RunningTurn[];
}

/** @throws AppError INVALID_REQUEST, FORBIDDEN, TURN_NOT_FOUND, TURN_CONFLICT */
export async function planTurn(db: Db, catalog: Catalog, asked: AskedTurn): Promise<PlannedTurn> {
  const { body, principal, conversation } = asked;
  const route = routeOf(catalog, asked);
  const place = await placeOf(db, conversation, body);
  refuseConflict(asked, place.parentTurnId);
  const model = catalog.models[route.model];
  if (model === undefined) throw new AppError('INVALID_REQUEST', { param: 'model' });
  // The user turn's id is minted first, so that it sorts before its reply.
  const userTurnId = place.userTurnId ?? newTurnId();
  const turn: AcceptedTurn = {
    turnId: newTurnId(),
    userTurnId,
    conversationId: conversation.conversationId,
    userId: principal.userId,
    parentTurnId: place.parentTurnId,
    replacesTurnId: place.replacesTurnId,
    isRegeneration: place.userTurnId !== null,
    content: place.userTurnId === null ? (body.content ?? '') : null,
    params: turnParamsOf(body, model),
    model: route.model,
    pool: route.pool,
    idempotencyKey: asked.idempotencyKey,
    bodyHash: asked.idempotencyKey === null ? null : hashOf(asked),
  };
  return { turn, isContinuation: namedTurn(body) === undefined, route };
}

/** What an Idempotency-Key stands for: the conversation and the body, whatever the order of its fields. */
export function hashOf({ conversation, body }: Pick<AskedTurn, 'conversation' | 'body'>): Buffer {
  const sorted = Object.entries(body).sort(([one], [other]) => (one < other ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([conversation.conversationId, sorted]))
    .digest();
}

function routeOf(catalog: Catalog, { body, principal, conversation }: AskedTurn): RouteDecision {
  const choice = chooseModel(
    {
      tier: principal.tier,
      requestedModel: body.model ?? null,
      conversationModel: conversation.model,
      reasoning: body.reasoning ?? false,
    },
    catalog,
  );
  if (choice.isAllowed) return choice.route;
  throw new AppError(choice.why === 'forbidden' ? 'FORBIDDEN' : 'INVALID_REQUEST', {
    message: choice.message,
    param: body.reasoning === true ? 'reasoning' : 'model',
  });
}

interface Place {
  readonly parentTurnId: TurnId | null;
  readonly replacesTurnId: TurnId | null;
  /** The existing user turn whose reply is made again; null for a new message. */
  readonly userTurnId: TurnId | null;
}

function namedTurn(body: TurnBody): TurnId | undefined {
  return (body.regenerate_of ?? body.edit_of ?? body.parent_turn_id) as TurnId | undefined;
}

/** Where in the conversation's tree the turn goes. */
async function placeOf(db: Db, conversation: StoredConversation, body: TurnBody): Promise<Place> {
  const named = namedTurn(body);
  if (named === undefined)
    return { parentTurnId: conversation.activeTurnId, replacesTurnId: null, userTurnId: null };
  const found = await findTurn(db, conversation.conversationId, named);
  if (found === null) throw new AppError('TURN_NOT_FOUND');
  const ensureRole = (role: 'user' | 'assistant', param: string): void => {
    if (found.role !== role)
      throw new AppError('INVALID_REQUEST', {
        message: `${param} must name a turn of role ${role}.`,
        param,
      });
  };
  if (body.regenerate_of !== undefined) {
    ensureRole('assistant', 'regenerate_of');
    return {
      parentTurnId: found.parentTurnId,
      replacesTurnId: named,
      userTurnId: found.parentTurnId,
    };
  }
  if (body.edit_of !== undefined) {
    ensureRole('user', 'edit_of');
    return { parentTurnId: found.parentTurnId, replacesTurnId: named, userTurnId: null };
  }
  ensureRole('assistant', 'parent_turn_id');
  return { parentTurnId: named, replacesTurnId: null, userTurnId: null };
}

/** One turn at a time, unless the request says by its parent that it is another branch. */
function refuseConflict({ body, running }: AskedTurn, parentTurnId: TurnId | null): void {
  const isOtherBranch =
    body.parent_turn_id !== undefined &&
    running.every((each) => each.parentTurnId !== parentTurnId);
  const inTheWay = running[0];
  if (inTheWay !== undefined && !isOtherBranch) throw new TurnConflict(inTheWay.turnId);
}
