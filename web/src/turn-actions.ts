// What a reader begins: a message, an edited message, an answer written again. Each becomes a turn for the runner.
import type { Turn, TurnRequest } from './api-types.ts';
import { liveInView, pathInView, pendingId } from './app-state.ts';
import type { AppState } from './app-state.ts';
import { lastAnswerOf } from './branches.ts';
import type { ConversationActions } from './conversation-actions.ts';
import type { RunningTurn } from './running-turns.ts';
import type { Store } from './store.ts';

export interface TurnActionDeps {
  readonly store: Store<AppState>;
  readonly conversations: Pick<ConversationActions, 'ensureOpen'>;
  readonly run: (turn: RunningTurn) => Promise<void>;
  readonly now: () => number;
  /** A new Idempotency-Key. */
  readonly newKey: () => string;
}

export interface TurnActions {
  send(text: string): Promise<void>;
  edit(turn: Turn, text: string): Promise<void>;
  regenerate(turn: Turn): Promise<void>;
}

export function createTurnActions({
  store,
  conversations,
  run,
  now,
  newKey,
}: TurnActionDeps): TurnActions {
  const begin = (
    conversationId: string,
    asked: Omit<TurnRequest, 'role' | 'model'>,
    rest: (key: string) => Pick<RunningTurn, 'userTurn' | 'answeredTurnId' | 'replacesTurnId'>,
  ): Promise<void> => {
    const key = newKey();
    const { model } = store.get();
    const body = { role: 'user' as const, ...asked, ...(model === null ? {} : { model }) };
    const post = { conversationId, body, idempotencyKey: key };
    return run({ ...rest(key), post, conversationId, turnId: null, startedAtMs: now() });
  };
  /** The message is shown at once, under a stand-in id. */
  const message =
    (content: string, parent: string | null, replaces: string | null) => (key: string) => ({
      userTurn: userTurn(pendingId(key), content, parent, replaces, now()),
      answeredTurnId: pendingId(key),
      replacesTurnId: null,
    });
  /** The conversation in view, when a turn may begin there. */
  const free = (): string | null => {
    const state = store.get();
    return liveInView(state) === null ? state.open.id : null;
  };

  return {
    send: async (text) => {
      const id = await conversations.ensureOpen(text);
      if (id === null) return;
      const parent = lastAnswerOf(pathInView(store.get()));
      const link = parent === null ? {} : { parent_turn_id: parent };
      await begin(id, { content: text, ...link }, message(text, parent, null));
    },
    edit: async (turn, text) => {
      const id = free();
      if (id === null) return;
      const asked = { content: text, edit_of: turn.turn_id };
      await begin(id, asked, message(text, turn.parent_turn_id, turn.turn_id));
    },
    regenerate: async (turn) => {
      const id = free();
      const answeredTurnId = turn.parent_turn_id;
      if (id === null || answeredTurnId === null) return;
      await begin(id, { regenerate_of: turn.turn_id }, () => ({
        userTurn: null,
        answeredTurnId,
        replacesTurnId: turn.turn_id,
      }));
    },
  };
}

function userTurn(
  turnId: string,
  content: string,
  parent: string | null,
  replaces: string | null,
  nowMs: number,
): Turn {
  return {
    turn_id: turnId,
    role: 'user',
    content,
    parent_turn_id: parent,
    replaces_turn_id: replaces,
    model: null,
    served_model: null,
    finish_reason: null,
    usage: null,
    created_at: new Date(nowMs).toISOString(),
  };
}
