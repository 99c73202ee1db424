// What a reader does about conversations: list, open, rename, delete, begin. Changes the state; the views follow it.
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import type { Conversation } from './api-types.ts';
import {
  EMPTY_CONVERSATION,
  isPending,
  knownTurns,
  liveInView,
  mergeTurns,
  pathInView,
} from './app-state.ts';
import type { AppState } from './app-state.ts';
import { choosing, lastAnswerOf } from './branches.ts';
import type { PathStep } from './branches.ts';
import type { Store } from './store.ts';

/** Older pages that are read in one go, at most, until they show what was asked for. */
const MAX_PAGES = 10;

export interface ConversationActionDeps {
  readonly api: ApiClient;
  readonly store: Store<AppState>;
  /** The address bar follows the conversation in view. */
  readonly showAddress: (conversationId: string | null) => void;
  readonly onUnauthenticated: (message: string) => void;
}

export interface ConversationActions {
  refreshList(): Promise<void>;
  loadOlderConversations(): Promise<void>;
  /** Null begins a new one, which exists only in view until its first message. */
  show(id: string | null): Promise<void>;
  reload(id: string): Promise<void>;
  loadOlderTurns(): Promise<void>;
  choose(turnId: string): void;
  /** The id of the conversation in view, made now if need be; null when it cannot be, and `text` is handed back. */
  ensureOpen(text: string): Promise<string | null>;
  rename(id: string, title: string): Promise<void>;
  remove(id: string): Promise<void>;
  /** Tells the reader of a refusal. True when it ended the session. */
  failed(error: ApiError): boolean;
}

export function createConversationActions(deps: ConversationActionDeps): ConversationActions {
  const { api, store } = deps;

  const failed = (error: ApiError): boolean => {
    if (error.status === 401) {
      deps.onUnauthenticated(error.message);
      return true;
    }
    if (error.code !== 'turn_conflict')
      store.set({ notice: { kind: 'error', text: error.message } });
    return false;
  };
  /** Runs a request; a refusal is told and gives null. */
  const attempt = async <Result>(work: Promise<Result>): Promise<Result | null> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failed(error);
      return null;
    }
  };

  const load = async (id: string): Promise<void> => {
    const page = await attempt(api.conversation(id, null));
    const { open } = store.get();
    // The reader may have gone elsewhere meanwhile.
    if (open.id !== id) return;
    if (page === null) {
      store.set({ open: { ...open, status: open.turns.length === 0 ? 'failed' : 'ready' } });
      return;
    }
    const turns = mergeTurns(open.turns, page.turns);
    const { active_turn_id: active } = page.conversation;
    // Opened anew, it shows the branch that was chosen last, here or in another tab.
    const isAnew = open.status === 'loading' && active !== null;
    store.set({
      open: {
        ...open,
        title: page.conversation.title,
        turns,
        choices: isAnew ? choosing(turns, open.choices, active) : open.choices,
        nextCursor: open.status === 'loading' ? page.next_cursor : open.nextCursor,
        status: 'ready',
      },
    });
  };

  /** False when nothing was read. */
  const readOlderPage = async (): Promise<boolean> => {
    const { id, nextCursor } = store.get().open;
    if (id === null || nextCursor === null) return false;
    const page = await attempt(api.conversation(id, nextCursor));
    const { open } = store.get();
    if (page === null || open.id !== id || open.nextCursor !== nextCursor) return false;
    store.set({
      open: { ...open, turns: mergeTurns(page.turns, open.turns), nextCursor: page.next_cursor },
    });
    return true;
  };
  /** Reads older pages until `isEnough`: those of other branches show nothing. */
  const readOlder = async (isEnough: () => boolean): Promise<void> => {
    for (let pages = 0; pages < MAX_PAGES && !isEnough(); pages += 1)
      if (!(await readOlderPage())) return;
  };
  const firstStep = (): PathStep | undefined => pathInView(store.get())[0];

  return {
    failed,
    refreshList: async () => {
      const page = await attempt(api.conversations(null));
      if (page === null) return;
      const { conversations, nextCursor, open } = store.get();
      const known = page.next_cursor === null ? [] : conversations;
      const list = mergeConversations(page.conversations, known);
      const title =
        list.find(({ conversation_id }) => conversation_id === open.id)?.title ?? open.title;
      store.set({
        conversations: list,
        nextCursor:
          conversations.length > page.conversations.length ? nextCursor : page.next_cursor,
        open: { ...open, title },
      });
    },
    loadOlderConversations: async () => {
      const { nextCursor } = store.get();
      if (nextCursor === null) return;
      const page = await attempt(api.conversations(nextCursor));
      if (page === null || store.get().nextCursor !== nextCursor) return;
      store.set({
        conversations: mergeConversations(store.get().conversations, page.conversations),
        nextCursor: page.next_cursor,
      });
    },
    show: async (id) => {
      deps.showAddress(id);
      if (id === null) {
        store.set({ open: EMPTY_CONVERSATION, notice: null });
        return;
      }
      const { conversations } = store.get();
      const title =
        conversations.find(({ conversation_id }) => conversation_id === id)?.title ?? null;
      store.set({ open: { ...EMPTY_CONVERSATION, id, title, status: 'loading' }, notice: null });
      await load(id);
      // Which of how many versions the first message is, is known when their parent is read.
      if (store.get().open.id === id) await readOlder(() => firstStep()?.isCut !== true);
    },
    reload: async (id) => {
      if (store.get().open.id === id) await load(id);
    },
    loadOlderTurns: async () => {
      const first = firstStep();
      await readOlder(() => firstStep()?.turn.turn_id !== first?.turn.turn_id);
      await readOlder(() => firstStep()?.isCut !== true);
    },
    choose: (turnId) => {
      const { open } = store.get();
      const turns = knownTurns(open, liveInView(store.get()));
      store.set({ open: { ...open, choices: choosing(turns, open.choices, turnId) } });
      const answer = lastAnswerOf(pathInView(store.get()));
      // While an answer is being written its end decides; and what is not remembered is chosen again.
      if (open.id === null || liveInView(store.get()) !== null) return;
      if (answer !== null && !isPending(answer))
        api.chooseBranch(open.id, answer).catch(() => undefined);
    },
    ensureOpen: async (text) => {
      const { open, model, isSending } = store.get();
      if (open.id !== null) return open.id;
      if (isSending) return null;
      store.set({ isSending: true, notice: null });
      const id = await attempt(api.createConversation(model));
      store.set({ isSending: false });
      if (id === null) {
        store.set({ returnedText: { text } });
        return null;
      }
      deps.showAddress(id);
      store.set({ open: { ...EMPTY_CONVERSATION, id } });
      return id;
    },
    rename: async (id, title) => {
      if ((await attempt(api.renameConversation(id, title).then(() => true))) === null) return;
      const { conversations, open } = store.get();
      store.set({
        conversations: conversations.map((each) =>
          each.conversation_id === id ? { ...each, title } : each,
        ),
        open: open.id === id ? { ...open, title } : open,
      });
    },
    remove: async (id) => {
      if ((await attempt(api.deleteConversation(id).then(() => true))) === null) return;
      const { conversations, open } = store.get();
      store.set({
        conversations: conversations.filter(({ conversation_id }) => conversation_id !== id),
      });
      if (open.id !== id) return;
      deps.showAddress(null);
      store.set({ open: EMPTY_CONVERSATION });
    },
  };
}

/** Earlier lists come first and win. */
function mergeConversations(...lists: readonly (readonly Conversation[])[]): Conversation[] {
  const merged = new Map<string, Conversation>();
  for (const each of lists.flat())
    if (!merged.has(each.conversation_id)) merged.set(each.conversation_id, each);
  return [...merged.values()];
}
