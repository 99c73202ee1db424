// What a reader does about turns: send, edit, regenerate, stop; and taking up turns that run already. Changes the state;
// the views follow it.
import { newAnswer, nextAnswer } from './answer.ts';
import type { AnswerMemory } from './answer-memory.ts';
import type { ApiClient, PostTurn } from './api-client.ts';
import { ApiError } from './api-error.ts';
import type { Turn, TurnRequest } from './api-types.ts';
import {
  isPending,
  knownTurns,
  liveAnswerTurn,
  liveInView,
  pathInView,
  pendingId,
} from './app-state.ts';
import type { AppState, LiveTurn } from './app-state.ts';
import { choosing, lastAnswerOf } from './branches.ts';
import type { ConversationActions } from './conversation-actions.ts';
import type { Link } from './link.ts';
import type { RunningTurn, RunningTurns } from './running-turns.ts';
import type { Store } from './store.ts';
import { followTurn } from './turn-stream.ts';
import type { TurnUpdate } from './turn-stream.ts';

export interface TurnActionDeps {
  readonly api: ApiClient;
  readonly link: Link;
  readonly store: Store<AppState>;
  readonly running: RunningTurns;
  readonly memory: AnswerMemory;
  readonly conversations: ConversationActions;
  readonly now: () => number;
  readonly newKey: () => string;
}

export interface TurnActions {
  send(text: string): Promise<void>;
  edit(turn: Turn, text: string): Promise<void>;
  regenerate(turn: Turn): Promise<void>;
  stop(): Promise<void>;
  /** Follows what this browser was following when the page went away. */
  takeUp(): void;
  /** Lets go of every stream, without stopping the turns. */
  letGo(): void;
}

export function createTurnActions(deps: TurnActionDeps): TurnActions {
  const { api, store, running, conversations, now } = deps;
  const controls = new Map<string, AbortController>();

  const setLive = (conversationId: string, live: LiveTurn | null): void => {
    const map = new Map(store.get().live);
    if (live === null) map.delete(conversationId);
    else map.set(conversationId, live);
    store.set({ live: map });
  };

  /** Shows a turn that begins, and follows it to its end. */
  const run = async (turn: RunningTurn): Promise<void> => {
    const { conversationId } = turn;
    const isJoined = turn.turnId !== null;
    const control = new AbortController();
    controls.get(conversationId)?.abort();
    controls.set(conversationId, control);
    running.save(turn);
    const { userTurn, answeredTurnId, replacesTurnId } = turn;
    const answer = newAnswer(turn.startedAtMs);
    setLive(conversationId, {
      conversationId,
      userTurn,
      answeredTurnId,
      replacesTurnId,
      answer,
      isStopping: false,
    });
    showLive(store, conversationId);
    const onUpdate = (update: TurnUpdate): void => {
      const live = store.get().live.get(conversationId);
      if (control.signal.aborted || live === undefined) return;
      const next = afterUpdate(live, update, now(), isJoined);
      setLive(conversationId, next);
      if (update.type !== 'event' || update.event.type !== 'open') return;
      running.save({
        ...turn,
        turnId: update.event.data.turn_id,
        userTurn: next.userTurn,
        answeredTurnId: next.answeredTurnId,
      });
      showLive(store, conversationId);
    };
    const start =
      turn.turnId === null && turn.post !== null
        ? turn.post
        : { conversationId, turnId: turn.turnId ?? '', lastEventId: null };
    try {
      await followTurn(deps, start, onUpdate, control.signal);
      ended(conversationId);
    } catch (error) {
      if (control.signal.aborted) return;
      refused(turn, error instanceof ApiError ? error : null);
    } finally {
      if (controls.get(conversationId) === control) controls.delete(conversationId);
    }
  };

  /** Keeps the turn as the service has stored it by now. */
  const ended = (conversationId: string): void => {
    const { live: all, open } = store.get();
    const live = all.get(conversationId);
    if (live === undefined) return;
    const { turn_id } = liveAnswerTurn(live);
    const { ttftMs, errorMessage } = live.answer;
    if (ttftMs !== null || errorMessage !== null)
      deps.memory.set(turn_id, { ttftMs, errorMessage });
    if (open.id === conversationId) store.set({ open: { ...open, turns: knownTurns(open, live) } });
    running.remove(conversationId);
    setLive(conversationId, null);
    void conversations.refreshList();
  };

  const refused = (turn: RunningTurn, error: ApiError | null): void => {
    const { conversationId } = turn;
    running.remove(conversationId);
    setLive(conversationId, null);
    if (error === null) throw new Error('A turn failed without a refusal.');
    const text = turn.turnId === null ? turn.post?.body.content : undefined;
    if (text !== undefined) store.set({ returnedText: { text } });
    if (conversations.failed(error)) return;
    if (error.code === 'turn_conflict') joinOther(turn, error.turnId);
    else if (turn.turnId !== null) void conversations.reload(conversationId);
  };

  /** Another page's turn runs here: show that one. */
  const joinOther = (turn: RunningTurn, turnId: string | null): void => {
    store.set({
      notice: {
        kind: 'info',
        text: 'An answer is already being written in this conversation. You can send your message when it is done.',
      },
    });
    void (async () => {
      await conversations.reload(turn.conversationId);
      const leaf = pathInView(store.get()).at(-1)?.turn;
      if (turnId === null || leaf === undefined || store.get().open.id !== turn.conversationId)
        return;
      const answered = leaf.role === 'user' ? leaf.turn_id : (leaf.parent_turn_id ?? leaf.turn_id);
      await run({
        ...turn,
        post: null,
        turnId,
        userTurn: null,
        answeredTurnId: answered,
        replacesTurnId: null,
        startedAtMs: now(),
      });
    })();
  };

  const post = (
    conversationId: string,
    body: Omit<TurnRequest, 'role' | 'model'>,
    place: {
      readonly parent: string | null;
      readonly answered: string | null;
      readonly replaces: string | null;
    },
  ): Promise<void> => {
    const key = deps.newKey();
    const { model } = store.get();
    const request: PostTurn = {
      conversationId,
      body: { role: 'user', ...body, ...(model === null ? {} : { model }) },
      idempotencyKey: key,
    };
    const isMessage = place.answered === null;
    const userTurn = isMessage ? userTurnOf(pendingId(key), body, place, now()) : null;
    return run({
      post: request,
      conversationId,
      turnId: null,
      userTurn,
      answeredTurnId: place.answered ?? pendingId(key),
      replacesTurnId: isMessage ? null : place.replaces,
      startedAtMs: now(),
    });
  };

  return {
    send: async (text) => {
      const id = await conversations.ensureOpen(text);
      if (id === null) return;
      const parent = lastAnswerOf(pathInView(store.get()));
      const link = parent === null ? {} : { parent_turn_id: parent };
      await post(id, { content: text, ...link }, { parent, answered: null, replaces: null });
    },
    edit: async (turn, text) => {
      const { id } = store.get().open;
      if (id === null || liveInView(store.get()) !== null) return;
      const place = { parent: turn.parent_turn_id, answered: null, replaces: turn.turn_id };
      await post(id, { content: text, edit_of: turn.turn_id }, place);
    },
    regenerate: async (turn) => {
      const { id } = store.get().open;
      if (id === null || turn.parent_turn_id === null || liveInView(store.get()) !== null) return;
      const place = { parent: null, answered: turn.parent_turn_id, replaces: turn.turn_id };
      await post(id, { regenerate_of: turn.turn_id }, place);
    },
    stop: async () => {
      const live = liveInView(store.get());
      if (live === null || live.isStopping) return;
      const { conversationId } = live;
      setLive(conversationId, { ...live, isStopping: true });
      try {
        await api.cancel(conversationId, live.answer.open?.turn_id ?? null);
      } catch (error) {
        const current = store.get().live.get(conversationId);
        if (current !== undefined) setLive(conversationId, { ...current, isStopping: false });
        if (error instanceof ApiError) conversations.failed(error);
      }
      // Never admitted (the service asked to wait): there is nothing to stop but this page's next try.
      const waiting = store.get().live.get(conversationId);
      if (
        waiting !== undefined &&
        waiting.answer.open === null &&
        waiting.answer.link !== 'connected'
      )
        giveUp(waiting);
    },
    takeUp: () => {
      for (const turn of running.all(now())) if (!controls.has(turn.conversationId)) void run(turn);
    },
    letGo: () => {
      for (const control of controls.values()) control.abort();
      controls.clear();
      store.set({ live: new Map() });
    },
  };

  function giveUp(live: LiveTurn): void {
    controls.get(live.conversationId)?.abort();
    running.remove(live.conversationId);
    setLive(live.conversationId, null);
    if (live.userTurn !== null) store.set({ returnedText: { text: live.userTurn.content } });
  }
}

/** The live turn after an update; when its stream opens, stand-in ids give way to the service's. */
function afterUpdate(
  live: LiveTurn,
  update: TurnUpdate,
  nowMs: number,
  isJoined: boolean,
): LiveTurn {
  const answer = nextAnswer(live.answer, update, nowMs, isJoined);
  if (answer.open === null || answer.open === live.answer.open) return { ...live, answer };
  const { user_turn_id } = answer.open;
  const userTurn =
    live.userTurn !== null && isPending(live.userTurn.turn_id)
      ? { ...live.userTurn, turn_id: user_turn_id }
      : live.userTurn;
  return { ...live, answer, userTurn, answeredTurnId: user_turn_id };
}

/** Turns the view to the branch of the live turn, when its conversation is in view. */
function showLive(store: Store<AppState>, conversationId: string): void {
  const { open, live } = store.get();
  const turn = live.get(conversationId);
  if (open.id !== conversationId || turn === undefined) return;
  const choices = choosing(knownTurns(open, turn), open.choices, liveAnswerTurn(turn).turn_id);
  store.set({ open: { ...open, choices } });
}

function userTurnOf(
  turnId: string,
  { content = '' }: Pick<TurnRequest, 'content'>,
  { parent, replaces }: { readonly parent: string | null; readonly replaces: string | null },
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
