// Housekeeping: accepted turns that no workflow runs.
import type { MaintenanceReport } from '../contracts/background-work.ts';
import type { Tier } from '../contracts/turn-facts.ts';
import type { PersistInput, PersistResult, TurnInput } from '../contracts/turn-workflow.ts';
import { closeRequest, openRequests } from '../postgres/turn-requests.ts';
import type { StoredRequest } from '../postgres/turn-requests.ts';
import { authorizeTurn } from '../postgres/standing.ts';
import type { Db } from '../postgres/pool.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';

export interface MaintenanceDeps {
  readonly stores: Stores;
  readonly logger: Logger;
  /** `running` and `unknown` workflows are left alone or started; `closed` ones will never end their turn. */
  readonly workflowState: (turn: TurnInput) => Promise<'running' | 'closed' | 'unknown'>;
  readonly start: (turn: TurnInput) => Promise<void>;
  readonly persistTurn: (input: PersistInput) => Promise<PersistResult>;
}

/** An accepted turn this old without a workflow was left behind by a gateway that died between the two. */
const STALE_MS = 30_000;
const BATCH = 200;

export function createMaintenanceActivities(deps: MaintenanceDeps) {
  /** Starts turns that were accepted and never started; closes those whose workflow ended without storing them. */
  const recoverTurns = async (): Promise<MaintenanceReport> => {
    const open = await Promise.all(
      deps.stores.primaries.map((db) => openRequests(db, STALE_MS, BATCH)),
    );
    let turnsStarted = 0;
    let turnsClosed = 0;
    for (const request of open.flat()) {
      const db = deps.stores.primaryOf(request.userId);
      const turn = await inputOf(db, request);
      if (turn === null) {
        await closeRequest(db, request.turnId);
        turnsClosed += 1;
        continue;
      }
      const state = await deps.workflowState(turn);
      if (state === 'unknown') {
        await deps.start(turn);
        turnsStarted += 1;
      } else if (state === 'closed') {
        await deps.persistTurn(failed(turn));
        turnsClosed += 1;
      }
    }
    if (turnsStarted + turnsClosed > 0)
      deps.logger.warn({ turnsStarted, turnsClosed }, 'recovered turns without a workflow');
    return { turnsStarted, turnsClosed };
  };

  return translateFailures({ recoverTurns }, deps.logger);
}

async function inputOf(db: Db, request: StoredRequest): Promise<TurnInput | null> {
  const { turnId, userTurnId, conversationId, userId, model, pool } = request;
  const authorized = await authorizeTurn(db, userId, conversationId);
  return authorized === null
    ? null
    : {
        turnId,
        userTurnId,
        conversationId,
        userId,
        tier: authorized.tier as Tier,
        model,
        pool,
        reasoning: request.params.reasoning,
        ...(request.params.n === 1 ? {} : { numSamples: request.params.n }),
      };
}

function failed(turn: TurnInput): PersistInput {
  const route = { model: turn.model, servedModel: turn.model, pool: turn.pool };
  return {
    turn,
    route,
    finishReason: 'error',
    errorCode: 'GENERATION_FAILED',
    verdict: null,
    usage: null,
  };
}
