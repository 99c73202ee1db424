// The request behind a reply that a path names, when it is the caller's.
import type { Request, Response } from 'express';
import { AppError } from '../../contracts/errors.ts';
import { isUuid } from '../../contracts/ids.ts';
import type { TurnId } from '../../contracts/ids.ts';
import type { Db } from '../../postgres/pool.ts';
import { findRequestOfReply } from '../../postgres/turn-requests.ts';
import type { StoredRequest } from '../../postgres/turn-requests.ts';
import { principalOf } from '../authenticate.ts';
import { conversationOf } from './conversations.ts';

/**
 * One look-up as a rule: a request's row goes with its conversation.
 * @throws AppError CONVERSATION_NOT_FOUND, TURN_NOT_FOUND, the same for foreign, deleted and absent
 */
export async function ownRequest(
  db: Db,
  request: Request,
  response: Response,
): Promise<StoredRequest> {
  const { id, turn } = request.params;
  const found =
    typeof turn === 'string' && isUuid(turn)
      ? await findRequestOfReply(db, turn.toLowerCase() as TurnId)
      : null;
  const isTheirs = found?.userId === principalOf(response).userId;
  if (isTheirs && found.conversationId === String(id).toLowerCase()) return found;
  await conversationOf(db, request, response);
  throw new AppError('TURN_NOT_FOUND');
}
