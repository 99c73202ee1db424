// Turns: take one, resume its stream, cancel.
import type { Request, Router } from 'express';
import { cancelBody, noQuery, turnBody } from '../../contracts/api.ts';
import { AppError } from '../../contracts/errors.ts';
import { sampleTurnIds } from '../../contracts/samples.ts';
import { runningTurns } from '../../postgres/turn-requests.ts';
import { principalOf } from '../authenticate.ts';
import { cancelRunning } from '../cancel-turn.ts';
import type { GatewayDeps } from '../deps.ts';
import { lastEventId } from '../last-event-id.ts';
import { setRateLimitHeaders, showRateLimits } from '../rate-limit-headers.ts';
import { shownPrompt } from '../shown-prompt.ts';
import { acceptAsked, startTurn } from '../turn-acceptance.ts';
import { TurnRecalls } from '../turn-recall.ts';
import { relayEvents, relayReply } from '../turn-relay.ts';
import { conversationAndRunning, conversationIdOf, conversationOf } from './conversations.ts';
import { ownRequest } from './own-request.ts';

export function addTurnRoutes(router: Router, deps: GatewayDeps): void {
  const { stores, metrics } = deps;
  const recalls = new TurnRecalls(deps);

  router.post('/v1/conversations/:id/turns', async (request, response) => {
    const startedAt = performance.now();
    const body = turnBody.parse(request.body);
    const type = request.accepts(['text/event-stream', 'application/json']);
    if (type === false) throw new AppError('NOT_ACCEPTABLE');
    const principal = principalOf(response);
    const { userId } = principal;
    const recall = recalls.begin(userId, body.content ?? null);
    const { hasMemory, ...place } = await conversationAndRunning(
      stores.primaryOf(userId),
      request,
      response,
    );
    recall.found(hasMemory);
    const asked = { body, principal, idempotencyKey: idempotencyKeyOf(request), ...place };
    const acceptance = await acceptAsked(deps, asked, ({ state }) =>
      setRateLimitHeaders(response, state),
    );
    const { turn, isRepeat, hasEnded } = acceptance;
    if (isRepeat) await showRateLimits(deps, response);
    metrics.turnStage.observe({ stage: 'accept' }, (performance.now() - startedAt) / 1000);
    const relayed = {
      userId: turn.userId,
      conversationId: turn.conversationId,
      turnId: turn.turnId,
      pool: turn.pool,
      after: 0,
      onFirstToken: () =>
        isRepeat ||
        metrics.turnTtft.observe(
          { tier: principal.tier, pool: turn.pool },
          (performance.now() - startedAt) / 1000,
        ),
    };
    const begin = async (): Promise<boolean> => {
      if (hasEnded) return false;
      return startTurn(deps, principal, acceptance, () => recall.give(turn));
    };
    await (type === 'application/json'
      ? relayReply(deps, response, relayed, begin)
      : relayEvents(deps, response, relayed, begin));
  });

  router.get('/v1/conversations/:id/turns/:turn/stream', async (request, response) => {
    noQuery.parse(request.query);
    const { userId } = principalOf(response);
    // When everybody comes back at once, this is what they ask. The stream of any of a turn's replies is that of the turn.
    const { conversationId, turnId, pool } = await ownRequest(
      stores.primaryOf(userId),
      request,
      response,
    );
    const after = lastEventId(request);
    await relayEvents(deps, response, { userId, conversationId, turnId, pool, after });
  });

  router.get('/v1/conversations/:id/turns/:turn/prompt', async (request, response) => {
    noQuery.parse(request.query);
    const { userId } = principalOf(response);
    const db = await stores.readerOf(userId, conversationIdOf(request));
    response.json(await shownPrompt(deps, db, await ownRequest(db, request, response)));
  });

  router.post('/v1/conversations/:id/cancel', async (request, response) => {
    const { turn_id: named } = cancelBody.parse(request.body ?? {});
    const db = stores.primaryOf(principalOf(response).userId);
    const { conversationId } = await conversationOf(db, request, response);
    const running = await runningTurns(db, conversationId);
    const asked = running.filter(
      ({ turnId, numSamples }) =>
        named === undefined ||
        sampleTurnIds(turnId, numSamples).some((each) => each === named.toLowerCase()),
    );
    await Promise.all(
      asked.map(({ turnId }) =>
        cancelRunning(deps, conversationId, turnId, async () => {
          const still = await runningTurns(db, conversationId);
          return still.some((each) => each.turnId === turnId);
        }),
      ),
    );
    response.status(204).end();
  });
}

/** Keys are the caller's own; any printable text of up to 255 characters. */
function idempotencyKeyOf(request: Request): string | null {
  const key = request.get('idempotency-key');
  if (key === undefined) return null;
  if (!/^[\x20-\x7e]{1,255}$/.test(key))
    throw new AppError('INVALID_REQUEST', {
      message: 'Idempotency-Key must be 1 to 255 printable characters.',
      param: 'Idempotency-Key',
    });
  return key;
}
