// Turns in flight: follows each to its end, keeps the state and the saved records in step, and stops them. One turn a
// conversation; several conversations may have one.
import { newAnswer } from './answer.ts';
import type { AnswerMemory } from './answer-memory.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { knownTurns, liveAnswerTurn, liveInView, pathInView } from './app-state.ts';
import type { AppState, LiveTurn } from './app-state.ts';
import type { ConversationActions } from './conversation-actions.ts';
import type { Link } from './link.ts';
import { afterUpdate, setLive, showLive } from './live-turns.ts';
import type { RunningTurn, RunningTurns } from './running-turns.ts';
import type { Store } from './store.ts';
import { followTurn } from './turn-stream.ts';
import type { TurnUpdate } from './turn-stream.ts';

export interface TurnRunnerDeps {
  readonly api: ApiClient;
  readonly link: Link;
  readonly store: Store<AppState>;
  readonly running: RunningTurns;
  readonly memory: AnswerMemory;
  readonly conversations: ConversationActions;
  readonly now: () => number;
  /** An answer was told these remembered facts. */
  readonly onUsed: (factIds: readonly string[]) => void;
}

const BUSY = 'An answer is already being written here. You can send your message when it is done.';

export class TurnRunner {
  readonly #deps: TurnRunnerDeps;
  /** Conversation → what lets go of its stream. */
  readonly #controls = new Map<string, AbortController>();

  constructor(deps: TurnRunnerDeps) {
    this.#deps = deps;
  }

  /** Shows a turn that begins, or that runs already, and follows it to its end. Refusals are told, not thrown. */
  async run(turn: RunningTurn): Promise<void> {
    const { store, running } = this.#deps;
    const { conversationId, userTurn, answeredTurnId, replacesTurnId } = turn;
    const control = new AbortController();
    this.#controls.get(conversationId)?.abort();
    this.#controls.set(conversationId, control);
    running.save(turn);
    const answer = newAnswer(turn.startedAtMs);
    setLive(store, conversationId, {
      conversationId,
      userTurn,
      answeredTurnId,
      replacesTurnId,
      answer,
      isStopping: false,
    });
    showLive(store, conversationId);
    const onUpdate = (update: TurnUpdate): void => {
      if (!control.signal.aborted) this.#update(turn, update);
    };
    try {
      await followTurn(this.#deps, startOf(turn), onUpdate, control.signal);
      this.#end(conversationId);
    } catch (error) {
      if (control.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#refuse(turn, error);
    } finally {
      if (this.#controls.get(conversationId) === control) this.#controls.delete(conversationId);
    }
  }

  /** Stops the turn of the conversation in view; what was written stays. */
  async stop(): Promise<void> {
    const { store } = this.#deps;
    const live = liveInView(store.get());
    if (live === null || live.isStopping) return;
    const { conversationId, answer } = live;
    // Not admitted yet: there is nothing to stop but this page's next try.
    if (answer.open === null && (answer.link === 'delayed' || answer.link === 'lost')) {
      this.#giveUp(live);
      return;
    }
    setLive(store, conversationId, { ...live, isStopping: true });
    await this.#cancel(conversationId, answer.open?.turn_id ?? null);
  }

  /** Follows what this browser was following when the page went away. */
  takeUp(): void {
    for (const turn of this.#deps.running.all(this.#deps.now()))
      if (!this.#controls.has(turn.conversationId)) void this.run(turn);
  }

  /** Lets go of every stream, without stopping the turns. */
  letGo(): void {
    for (const control of this.#controls.values()) control.abort();
    this.#controls.clear();
    this.#deps.store.set({ live: new Map() });
  }

  #update(turn: RunningTurn, update: TurnUpdate): void {
    const { store, running, conversations, now } = this.#deps;
    const { conversationId } = turn;
    const live = store.get().live.get(conversationId);
    if (live === undefined) return;
    const next = afterUpdate(live, update, now(), turn.turnId !== null);
    setLive(store, conversationId, next);
    // By now the service has stored the message, and a new conversation has its title.
    if (live.answer.text === '' && next.answer.text !== '') void conversations.refreshList();
    if (update.type !== 'event' || update.event.type !== 'open') return;
    const { turn_id: turnId } = update.event.data;
    this.#deps.onUsed(update.event.data.memory ?? []);
    const { userTurn, answeredTurnId } = next;
    running.save({ ...turn, turnId, userTurn, answeredTurnId });
    showLive(store, conversationId);
    // A stop that was asked for before the turn had a name may have come before the turn itself.
    if (live.isStopping) void this.#cancel(conversationId, turnId);
  }

  /** Keeps the turn as the service has stored it by now. */
  #end(conversationId: string): void {
    const { store, running, memory, conversations } = this.#deps;
    const { live: all, open } = store.get();
    const live = all.get(conversationId);
    if (live === undefined) return;
    const { ttftMs, errorMessage, open: opened } = live.answer;
    const { turn_id } = liveAnswerTurn(live);
    const used = opened?.memory === undefined ? {} : { usedFacts: opened.memory };
    if (ttftMs !== null || errorMessage !== null || opened?.memory !== undefined)
      memory.set(turn_id, { ttftMs, errorMessage, ...used });
    const turns = knownTurns(open, live);
    if (open.id === conversationId) store.set({ open: { ...open, turns } });
    running.remove(conversationId);
    setLive(store, conversationId, null);
    void conversations.refreshList();
    // Another page's turn: its message is not among what was read here.
    if (!turns.some((turn) => turn.turn_id === live.answeredTurnId))
      void conversations.reload(conversationId);
  }

  #refuse(turn: RunningTurn, error: ApiError): void {
    const { store, running, conversations } = this.#deps;
    const { conversationId } = turn;
    running.remove(conversationId);
    setLive(store, conversationId, null);
    const text = turn.turnId === null ? turn.post?.body.content : undefined;
    if (text !== undefined) store.set({ returnedText: { text } });
    // A saved turn whose stream is gone: the conversation has what became of it, which is no fault to tell of.
    if (turn.turnId !== null && error.status === 404) {
      void conversations.reload(conversationId);
      return;
    }
    if (conversations.failed(error)) return;
    if (error.code === 'turn_conflict') void this.#joinOther(turn, error.turnId);
    else if (turn.turnId !== null) void conversations.reload(conversationId);
  }

  /** Another page's turn runs here: shows that one. */
  async #joinOther(turn: RunningTurn, turnId: string | null): Promise<void> {
    const { store, conversations, now } = this.#deps;
    store.set({ notice: { kind: 'info', text: BUSY } });
    await conversations.reload(turn.conversationId);
    const leaf = pathInView(store.get()).at(-1)?.turn;
    if (turnId === null || store.get().open.id !== turn.conversationId) return;
    // A guess until the stream opens and names the message that it answers.
    const answered = leaf?.role === 'assistant' ? leaf.parent_turn_id : leaf?.turn_id;
    await this.run({
      ...turn,
      post: null,
      turnId,
      userTurn: null,
      answeredTurnId: answered ?? turnId,
      replacesTurnId: null,
      startedAtMs: now(),
    });
  }

  async #cancel(conversationId: string, turnId: string | null): Promise<void> {
    const { api, store, conversations } = this.#deps;
    try {
      await api.cancel(conversationId, turnId);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const live = store.get().live.get(conversationId);
      if (live !== undefined) setLive(store, conversationId, { ...live, isStopping: false });
      conversations.failed(error);
    }
  }

  #giveUp({ conversationId, userTurn }: LiveTurn): void {
    const { store, running } = this.#deps;
    this.#controls.get(conversationId)?.abort();
    running.remove(conversationId);
    setLive(store, conversationId, null);
    if (userTurn !== null) store.set({ returnedText: { text: userTurn.content } });
  }
}

function startOf({ post, conversationId, turnId }: RunningTurn): Parameters<typeof followTurn>[1] {
  return turnId === null && post !== null
    ? post
    : { conversationId, turnId: turnId ?? '', lastEventId: null };
}
