// Accepting a turn: everything between a valid request and a running workflow, in the order that loses nothing. A
// refusal leaves no trace; an accepted turn runs whatever dies after it.
import { AppError } from '../contracts/errors.ts';
import { openData } from '../contracts/open-entry.ts';
import type { FactId } from '../contracts/ids.ts';
import type { AcceptedTurn, Principal } from '../contracts/turn-request.ts';
import {
  acceptTurn,
  findRequestByKey,
  joinRequest,
  runningTurns,
  withdrawRequest,
} from '../postgres/turn-requests.ts';
import type { StoredRequest } from '../postgres/turn-requests.ts';
import type { Reservation } from '../contracts/limiter.ts';
import type { GatewayDeps } from './deps.ts';
import { TurnConflict } from './error-handler.ts';
import { measureMessage } from './prompt-size.ts';
import { limitsOf } from './rate-limit-headers.ts';
import { hashOf, planTurn } from './turn-request.ts';
import type { AskedTurn } from './turn-request.ts';

/** Characters per token of ordinary text, rounded down: a reservation errs on the large side and is settled exactly. */
const CHARS_PER_TOKEN = 3;

export interface Acceptance {
  readonly turn: AcceptedTurn;
  /** That the turn was given when it was accepted; a new one has none yet. */
  readonly factIds: readonly FactId[];
  /** The key was used before: the caller gets that turn's stream, and no quota is taken. */
  readonly isRepeat: boolean;
  readonly hasEnded: boolean;
}

/** @throws AppError IDEMPOTENCY_CONFLICT, TURN_CONFLICT, CONTEXT_LENGTH_EXCEEDED, RATE_LIMITED, OVERLOADED, and what planTurn throws */
export async function acceptAsked(
  deps: GatewayDeps,
  asked: AskedTurn,
  onReservation: (reservation: Reservation) => void,
): Promise<Acceptance> {
  const earlier = await joinEarlier(deps, asked);
  if (earlier !== null) return repeatOf(earlier);
  try {
    return await acceptNew(deps, asked, onReservation);
  } catch (error) {
    // A store that does not answer has been waited for once.
    if (error instanceof AppError && error.code === 'STORAGE_UNAVAILABLE') throw error;
    // The same key may have won in another request meanwhile: then the turn in the way, or the quota, is this one's own.
    const winner = await joinEarlier(deps, asked);
    if (winner === null) throw error;
    return repeatOf(winner);
  }
}

async function acceptNew(
  deps: GatewayDeps,
  asked: AskedTurn,
  onReservation: (reservation: Reservation) => void,
): Promise<Acceptance> {
  const db = deps.stores.primaryOf(asked.principal.userId);
  const { turn: planned, isContinuation, route } = await planTurn(db, deps.catalog, asked);
  const turn = await measured(deps, asked, planned);
  // Before the quota: who is turned away for our lack of room has used nothing of theirs.
  await shed(deps, asked.principal, route.pool);
  const reservation = await reserve(deps, asked.principal, turn);
  onReservation(reservation);
  if (!reservation.isGranted)
    throw new AppError('RATE_LIMITED', { retryAfterSeconds: reservation.retryAfterSeconds });
  try {
    const outcome = await acceptTurn(db, turn, isContinuation);
    if (outcome === 'accepted') return { turn, factIds: [], isRepeat: false, hasEnded: false };
    if (outcome === 'no-conversation') throw new AppError('CONVERSATION_NOT_FOUND');
    const [running] = await runningTurns(db, turn.conversationId);
    throw running === undefined ? new AppError('TURN_CONFLICT') : new TurnConflict(running.turnId);
  } catch (error) {
    await refund(deps, asked.principal, turn);
    throw error;
  }
}

/**
 * Chooses the turn's facts and creates the log, and starts the workflow beside that, whose first steps wait for it; both do
 * nothing when they are there. A first start that fails takes all of it back, unless a repeat has joined the turn or the workflow has started all the same: then the turn goes its way, and what
 * was never started is started by the background worker.
 * @returns whether this call created the log
 */
export async function startTurn(
  deps: GatewayDeps,
  principal: Principal,
  acceptance: Acceptance,
  giveFacts: () => Promise<readonly FactId[]>,
): Promise<boolean> {
  const { turn, isRepeat } = acceptance;
  const numSamples = turn.params.n;
  const { turnId, userTurnId, conversationId, userId, model, pool } = turn;
  const timed = async <Result>(stage: string, work: Promise<Result>): Promise<Result> => {
    const end = deps.metrics.turnStage.startTimer({ stage });
    const result = await work;
    end();
    return result;
  };
  const openLog = async (): Promise<boolean> => {
    const factIds = isRepeat ? acceptance.factIds : await timed('facts', giveFacts());
    const servedModel = deps.catalog.models[model]?.served_model ?? model;
    const open = openData({ ...turn, servedModel, numSamples, factIds });
    return timed('log_create', deps.turnLog.create(open, { userId, conversationId }));
  };
  try {
    const opening = deps.openings.begin(turnId, openLog());
    const starting = timed(
      'start',
      deps.dispatch.start({
        turnId,
        userTurnId,
        conversationId,
        userId,
        tier: principal.tier,
        model,
        pool,
        reasoning: turn.params.reasoning,
        ...(numSamples === 1 ? {} : { numSamples }),
      }),
    );
    // Both have ended before anything is taken back.
    await Promise.allSettled([opening, starting]);
    await starting;
    return await opening;
  } catch (error) {
    // Whether the workflow started is unknown; without its request it ends at once and stores nothing.
    const db = deps.stores.primaryOf(userId);
    if (!isRepeat && (await withdrawRequest(db, turnId).catch(() => false)))
      await Promise.allSettled([deps.turnLog.remove(turnId), refund(deps, principal, turn)]);
    throw error;
  }
}

/** The turn with its tokens counted. @throws AppError CONTEXT_LENGTH_EXCEEDED: such a one costs nobody anything */
async function measured(
  { catalog, encoderOf }: GatewayDeps,
  { conversation }: AskedTurn,
  turn: AcceptedTurn,
): Promise<AcceptedTurn> {
  const [encoder, pool] = [encoderOf(turn.pool), catalog.pools[turn.pool]];
  if (encoder === null || pool === undefined || turn.content === null) return turn;
  const tokenCount = await measureMessage(encoder, pool, {
    content: turn.content,
    systemPrompt: conversation.systemPrompt ?? catalog.system_prompt,
    maxTokens: turn.params.maxTokens,
  });
  return { ...turn, tokenCount };
}

/** The request that used the key before, now this caller's as well; null when there is none, or it was just withdrawn. */
async function joinEarlier(deps: GatewayDeps, asked: AskedTurn): Promise<StoredRequest | null> {
  if (asked.idempotencyKey === null) return null;
  const { userId } = asked.principal;
  const db = deps.stores.primaryOf(userId);
  const earlier = await findRequestByKey(db, userId, asked.idempotencyKey);
  if (earlier === null) return null;
  if (earlier.bodyHash?.equals(hashOf(asked)) !== true) throw new AppError('IDEMPOTENCY_CONFLICT');
  if (earlier.endedAt !== null) return earlier;
  const factIds = await joinRequest(db, earlier.turnId);
  return factIds === null ? null : { ...earlier, factIds };
}

function repeatOf(earlier: StoredRequest): Acceptance {
  const { factIds, endedAt } = earlier;
  return { turn: earlier, factIds, isRepeat: true, hasEnded: endedAt !== null };
}

function reserve(
  deps: GatewayDeps,
  principal: Principal,
  turn: AcceptedTurn,
): Promise<Reservation> {
  const { maxTokens, n } = turn.params;
  const tokens = Math.ceil((turn.content?.length ?? 0) / CHARS_PER_TOKEN) + n * maxTokens;
  return deps.limiter.reserve(
    principal.userId,
    turn.turnId,
    tokens,
    limitsOf(deps.catalog, principal.tier),
  );
}

async function refund(deps: GatewayDeps, principal: Principal, turn: AcceptedTurn): Promise<void> {
  await deps.limiter
    .settle(principal.userId, turn.turnId, 0, limitsOf(deps.catalog, principal.tier))
    .catch((error: unknown) => {
      deps.logger.warn(
        { error, turnId: turn.turnId },
        'a reservation was not given back; it will expire',
      );
    });
}

/** Free turns wait outside when every worker of the pool has a long queue. */
async function shed(deps: GatewayDeps, principal: Principal, pool: string): Promise<void> {
  if (principal.tier !== 'free') return;
  const waiting = await deps.leastWaiting(pool);
  if (waiting !== null && waiting >= (deps.catalog.pools[pool]?.shed_waiting ?? Infinity))
    throw new AppError('OVERLOADED', { retryAfterSeconds: 5 });
}
