// The short steps of a turn and its end. They run on the gateway's embedded worker or on a turn worker.
import type { Catalog } from '../contracts/catalog.ts';
import type { ConversationCache } from '../contracts/conversation-cache.ts';
import { AppError } from '../contracts/errors.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { Limiter } from '../contracts/limiter.ts';
import type { ModerationVerdict } from '../contracts/turn-facts.ts';
import { TIERS } from '../contracts/turn-facts.ts';
import type { TurnLogWriter } from '../contracts/turn-log.ts';
import type {
  Authorization,
  HistoryFacts,
  PersistInput,
  PersistResult,
  RoutedTurn,
  TurnInput,
} from '../contracts/turn-workflow.ts';
import type { InputModerator } from '../moderation/input-policy.ts';
import { chooseModel } from '../policy/model-choice.ts';
import { joinRequest } from '../postgres/turn-requests.ts';
import { openTurn } from '../postgres/turns.ts';
import type { OpenedTurn } from '../postgres/turns.ts';
import { impatientStores } from '../postgres/stores.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import type { Metrics } from '../process/metrics.ts';
import { translateFailures } from './failure.ts';
import { persistTurn } from './persist-turn.ts';
import { singleFlight } from './single-flight.ts';

export interface TurnStepDeps {
  readonly stores: Stores;
  readonly turnLog: TurnLogWriter;
  readonly cache: ConversationCache;
  readonly limiter: Limiter;
  readonly moderator: InputModerator;
  /** Of the gateway that this runs in; absent elsewhere. */
  readonly openings?: { opened(turnId: TurnId): Promise<boolean> };
  readonly catalog: Catalog;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/**
 * A statement whose answer is lost is given up before its step is (workflows/turn-steps.ts), so that the step's next try does
 * not wait for the connections that hang.
 */
const STORE_ANSWER_MS = 2500;

/** All activities of the queue `turns`. Each is idempotent: Temporal may run it more than once. */
export function createTurnActivities(allDeps: TurnStepDeps) {
  const deps = { ...allDeps, stores: impatientStores(allDeps.stores, STORE_ANSWER_MS) };
  const { stores, catalog, limiter, moderator } = deps;
  const timed =
    <Input, Output>(stage: string, work: (input: Input) => Promise<Output>) =>
    async (input: Input): Promise<Output> => {
      const end = deps.metrics.turnStage.startTimer({ stage });
      try {
        return await work(input);
      } finally {
        end();
      }
    };

  // The first steps run side by side and ask the store for one row each; together they are one statement.
  const open = singleFlight(
    async ({ turnId, userId, conversationId }: TurnInput): Promise<OpenedTurn> => {
      const opened = await openTurn(stores.primaryOf(userId), turnId);
      if (opened === null) throw new AppError('TURN_DELETED');
      // Not awaited: whoever reads an older entry reads the store.
      if (opened.stored !== null)
        void deps.cache
          .append(conversationId, opened.stored.version, [opened.stored.turn])
          .catch((error: unknown) => deps.logger.debug({ error, turnId }, 'a turn was not cached'));
      return opened;
    },
    ({ turnId }) => turnId,
  );
  const messageOf = async (turn: TurnInput): Promise<NonNullable<OpenedTurn['message']>> => {
    const { message } = await open(turn);
    if (message === null) throw new AppError('TURN_DELETED');
    return message;
  };

  /** The durable check, as of now: the user stands, the conversation is theirs. @throws FORBIDDEN */
  const authorize = async (turn: TurnInput): Promise<Authorization> => {
    const { standing } = await open(turn);
    const tier = TIERS.find((each) => each === standing?.tier);
    if (standing === null || tier === undefined) throw new AppError('FORBIDDEN');
    return { orgId: standing.orgId, tier };
  };

  /** Stores the user turn under its announced id. @throws TURN_DELETED when the conversation is gone */
  const loadHistory = async (turn: TurnInput): Promise<HistoryFacts> => {
    const { content, parentTurnId } = await messageOf(turn);
    return { isFirstTurn: parentTurnId === null, contentChars: content.length };
  };

  const moderateInput = async (turn: TurnInput): Promise<ModerationVerdict> =>
    moderator.moderate((await messageOf(turn)).content);

  /** What the turn is told is decided: its gateway has opened its log, or has lost its chance to give it facts. */
  const opened = async (turn: TurnInput): Promise<void> => {
    // The other steps wait for this as well: only what comes on top of it is the opening's.
    await open(turn);
    const end = deps.metrics.turnStage.startTimer({ stage: 'opening' });
    const isOwn = (await deps.openings?.opened(turn.turnId)) === true;
    if (!isOwn) await joinRequest(stores.primaryOf(turn.userId), turn.turnId);
    end();
  };

  /**
   * Confirms the gateway's choice against the catalogue, and looks once for a cancel: one that came before the start was
   * accepted found no workflow to signal, and has left its mark in the log by now.
   * @throws FORBIDDEN, INVALID_REQUEST
   */
  const routeTurn = async (turn: TurnInput): Promise<RoutedTurn> => {
    await opened(turn);
    const isCancelled = await deps.turnLog.isCancelled(turn.turnId);
    const choice = chooseModel(
      {
        tier: turn.tier,
        requestedModel: turn.model,
        conversationModel: null,
        reasoning: turn.reasoning,
      },
      catalog,
    );
    if (!choice.isAllowed)
      throw new AppError(choice.why === 'forbidden' ? 'FORBIDDEN' : 'INVALID_REQUEST');
    return { ...choice.route, isCancelled };
  };

  const settle = async (turn: TurnInput, usedTokens: number): Promise<void> => {
    const limits = catalog.tiers[turn.tier];
    await limiter.settle(turn.userId, turn.turnId, usedTokens, {
      requestsPerMinute: limits.requests_per_minute,
      tokensPerMinute: limits.tokens_per_minute,
    });
  };

  return translateFailures(
    {
      authorize: timed('authorize', authorize),
      loadHistory: timed('load_history', loadHistory),
      moderateInput: timed('moderate_input', moderateInput),
      routeTurn: timed('route_turn', routeTurn),
      persistTurn: timed('persist_turn', (input: PersistInput): Promise<PersistResult> =>
        persistTurn(deps, input),
      ),
      settle,
    },
    deps.logger,
  );
}
