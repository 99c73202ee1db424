// One chat turn, durably: loadHistory, authorize, moderateInput and routeTurn side by side → generate → persistTurn → settle.
// It carries ids and small facts only. Every path ends with persistTurn, so every turn is stored and billed once.
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  log,
  setHandler,
  TimeoutFailure,
} from '@temporalio/workflow';
import type { FinishReason, ModerationVerdict, TokenUsage } from '../contracts/turn-facts.ts';
import type {
  PersistInput,
  PersistResult,
  RouteDecision,
  TurnInput,
} from '../contracts/turn-workflow.ts';
import { cancelSignal, progressQuery } from './turn-messages.ts';
import { TurnState } from './turn-state.ts';
import { generateStep, persistStep, settleStep, shortStep } from './turn-steps.ts';

/** A log that Redis lost before its turn was stored is generated again, this often. */
const MAX_DISPATCHES = 3;

interface Outcome {
  readonly route: RouteDecision | null;
  readonly finishReason: FinishReason;
  readonly errorCode: string | null;
  readonly verdict: ModerationVerdict | null;
  readonly usage: TokenUsage | null;
  readonly lastEntry?: number;
}

/** The workflow function registered as `turn`. */
export async function turn(input: TurnInput): Promise<PersistResult> {
  const state = new TurnState();
  setHandler(cancelSignal, () => state.requestCancel());
  setHandler(progressQuery, () => state.progress);
  // An operator's cancel of the workflow is a cancel of the turn: what follows must still store it.
  CancellationScope.current().cancelRequested.catch(() => state.requestCancel());
  return CancellationScope.nonCancellable(() => run(input, state));
}

async function run(input: TurnInput, state: TurnState): Promise<PersistResult> {
  const prepared = await prepare(input, state);
  let stored: PersistResult | null = null;
  let lostEntries = 0;
  while (stored === null) {
    const outcome =
      prepared.route === null || isDecided(prepared)
        ? prepared
        : await generate(input, prepared.route, state, lostEntries);
    lostEntries = Math.max(lostEntries, outcome.lastEntry ?? 0);
    state.stage = 'persistTurn';
    stored = await persist(input, outcome, state);
  }
  state.stage = 'settle';
  const total = stored.usage.promptTokens + stored.usage.completionTokens;
  await settleStep(`${total} tokens`)
    .settle(input, total)
    .catch(() => log.warn('reservation not settled; it will expire'));
  state.stage = 'ended';
  return stored;
}

const UNDECIDED = { errorCode: null, verdict: null, usage: null } as const;

/** Everything before the pool is asked. A failure here is an outcome, not an exception. */
async function prepare(input: TurnInput, state: TurnState): Promise<Outcome> {
  try {
    const [verdict, { isCancelled, ...route }] = await Promise.all([
      shortStep('input policy').moderateInput(input),
      shortStep(`wants ${input.model}`).routeTurn(input),
      shortStep('store the user turn').loadHistory(input),
      shortStep(`${input.tier} user`).authorize(input),
    ]);
    if (isCancelled) state.requestCancel();
    if (verdict.action === 'block')
      return { ...UNDECIDED, route: null, finishReason: 'content_filter', verdict };
    return { ...UNDECIDED, route, finishReason: 'stop' };
  } catch (error) {
    return { ...UNDECIDED, route: null, finishReason: 'error', errorCode: failureCode(error) };
  }
}

function isDecided(outcome: Outcome): boolean {
  return outcome.finishReason !== 'stop';
}

async function generate(
  input: TurnInput,
  route: RouteDecision,
  state: TurnState,
  /** See GenerateInput. */
  lostEntries: number,
): Promise<Outcome> {
  state.stage = 'generate';
  state.dispatch += 1;
  const { turnId, userTurnId, conversationId, userId } = input;
  try {
    const result = await state.unlessCancelled(() =>
      generateStep(route, `${route.servedModel} on ${route.pool}`).generate({
        turnId,
        userTurnId,
        conversationId,
        userId,
        model: route.model,
        pool: route.pool,
        priority: route.priority,
        dispatch: state.dispatch,
        ...(lostEntries === 0 ? {} : { lostEntries }),
      }),
    );
    if (result === null) return { ...UNDECIDED, route, finishReason: 'cancelled' };
    const { finishReason, usage, lastEntry } = result;
    return { ...UNDECIDED, route, finishReason, usage, lastEntry };
  } catch (error) {
    // A worker that dies with a cancel in hand reports nothing: the cancel stands.
    if (state.isCancelRequested) return { ...UNDECIDED, route, finishReason: 'cancelled' };
    return { ...UNDECIDED, route, finishReason: 'error', errorCode: failureCode(error) };
  }
}

/** Null when the log was lost and the turn has to be generated again. */
async function persist(
  input: TurnInput,
  outcome: Outcome,
  state: TurnState,
): Promise<PersistResult | null> {
  const { route, finishReason, errorCode, verdict, usage, lastEntry } = outcome;
  const served = {
    model: route?.model ?? input.model,
    servedModel: route?.servedModel ?? input.model,
    pool: route?.pool ?? input.pool,
  };
  const step: PersistInput = {
    turn: input,
    route: served,
    finishReason,
    errorCode,
    verdict,
    usage,
  };
  const whole = lastEntry === undefined ? step : { ...step, lastEntry };
  try {
    return await persistStep(finishReason).persistTurn(whole);
  } catch (error) {
    if (failureCode(error) !== 'TURN_LOG_LOST' || route === null) throw error;
    if (state.isCancelRequested)
      return persistStep('cancelled').persistTurn({
        ...step,
        finishReason: 'cancelled',
        usage: null,
      });
    if (state.dispatch < MAX_DISPATCHES) return null;
    return persistStep('error').persistTurn({
      ...step,
      finishReason: 'error',
      errorCode: 'GENERATION_FAILED',
      usage: null,
    });
  }
}

/** The AppError code behind a failed step. A queue nobody took the step from is an overloaded pool. */
function failureCode(error: unknown): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && typeof cause.type === 'string') return cause.type;
  if (cause instanceof TimeoutFailure)
    return cause.timeoutType === 'SCHEDULE_TO_START' ? 'OVERLOADED' : 'GENERATION_TIMEOUT';
  return 'GENERATION_FAILED';
}
