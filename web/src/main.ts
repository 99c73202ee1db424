// Wiring: makes the parts, joins their actions to the state, and renders once a frame after it changed.
import { addressOf, conversationInPath, tokenInFragment } from './address.ts';
import { createAnnouncer } from './announcer.ts';
import { browserLink } from './browser-link.ts';
import { answerMemory } from './answer-memory.ts';
import { createApiClient } from './api-client.ts';
import { liveInView, SIGNED_OUT } from './app-state.ts';
import { createAutoScroll } from './auto-scroll.ts';
import { createComposer } from './composer.ts';
import { confirmAction } from './confirm.ts';
import { createConversationActions } from './conversation-actions.ts';
import { createConversationList } from './conversation-list.ts';
import { byId, element, setText } from './dom.ts';
import { createDrawer } from './drawer.ts';
import { icon } from './icons.ts';
import { startKeyboard } from './keyboard.ts';
import { createMemoryPanel } from './memory-panel.ts';
import { createModelPicker } from './model-picker.ts';
import { createNotice } from './notice.ts';
import { createRemembered } from './remembered.ts';
import { runningTurns } from './running-turns.ts';
import { createSession } from './session.ts';
import { createSignIn } from './sign-in.ts';
import { createStore } from './store.ts';
import { startTheme } from './theme.ts';
import { createThreadView } from './thread-view.ts';
import { createTurnActions } from './turn-actions.ts';
import { TurnRunner } from './turn-runner.ts';

const COUNTDOWN_STEP_MS = 250;

startTheme(localStorage);
const store = createStore(SIGNED_OUT);
const link = browserLink();
const running = runningTurns(localStorage);
const memory = answerMemory(localStorage);
const api = createApiClient(() => session.token());
const conversations = createConversationActions({
  api,
  store,
  showAddress,
  onUnauthenticated: () => session.signOut('Your session has ended. Sign in again.'),
});
const now = (): number => Date.now();
const remembered = createRemembered({
  api,
  store,
  failed: (error) => void conversations.failed(error),
});
const runner = new TurnRunner({
  api,
  link,
  store,
  running,
  memory,
  conversations,
  now,
  onUsed: (factIds) => void remembered.know(factIds),
});
const turns = createTurnActions({
  store,
  conversations,
  run: (turn) => runner.run(turn),
  now,
  newKey: newIdempotencyKey,
});
const session = createSession({
  api,
  store,
  storage: localStorage,
  link,
  onSignedIn: () => {
    void conversations.refreshList();
    void remembered.load();
    void showFromAddress().then(() => runner.takeUp());
  },
  onSignedOut: () => {
    runner.letGo();
    running.clear();
    memory.clear();
  },
});

const drawer = createDrawer();
const scroll = createAutoScroll(
  byId('scroller', HTMLElement),
  byId('thread', HTMLElement),
  byId('jump', HTMLElement),
);
const show = async (id: string | null): Promise<void> => {
  drawer.close();
  await conversations.show(id);
};
const composer = createComposer({
  send: (text) => {
    scroll.toEnd();
    void turns.send(text);
  },
  stop: () => void runner.stop(),
});
const beginNew = (): void => {
  void show(null);
  composer.focus();
};
const thread = createThreadView(byId('thread', HTMLElement), {
  choose: conversations.choose,
  edit: (turn, text) => {
    scroll.toEnd();
    composer.focus();
    void turns.edit(turn, text);
  },
  regenerate: (turn) => {
    scroll.toEnd();
    composer.focus();
    void turns.regenerate(turn);
  },
  factsOf: memory.get,
  loadOlder: () => {
    const restore = scroll.holdPlace();
    // The frame after the one that shows them.
    void conversations.loadOlderTurns().then(() => requestAnimationFrame(restore));
  },
  retry: () => void conversations.show(store.get().open.id),
});
const panel = createMemoryPanel(remembered);
const views = [
  panel,
  createSignIn((token) => void session.signIn(token)),
  createConversationList(byId('conversation-list', HTMLElement), {
    show: (id) => {
      void show(id);
      scroll.toEnd();
      composer.focus();
    },
    rename: (id, title) => void conversations.rename(id, title),
    remove: ({ conversation_id: id, title }) => {
      const question = `Delete “${title ?? 'New conversation'}”?`;
      void confirmAction(question, 'Its messages are removed for good.', 'Delete').then(
        (isSure) => {
          if (isSure) void conversations.remove(id).then(composer.focus);
        },
      );
    },
    loadOlder: () => void conversations.loadOlderConversations(),
  }),
  createModelPicker(session.chooseModel),
  createNotice(byId('notice', HTMLElement), () => store.set({ notice: null })),
  createAnnouncer(byId('status', HTMLElement)),
  composer,
];

const app = byId('app', HTMLElement);
const newButton = byId('new-conversation', HTMLButtonElement);
newButton.append(icon('plus'), 'New conversation');
newButton.addEventListener('click', beginNew);
const signOut = element(
  'button',
  { type: 'button', class: 'text-button' },
  icon('exit'),
  'Sign out',
);
signOut.addEventListener('click', () => {
  session.signOut(null);
  showAddress(null);
});
byId('sidebar-foot', HTMLElement).append(panel.opener, signOut);

let isRenderDue = false;
let countdown: ReturnType<typeof setTimeout> | undefined;
store.subscribe(() => {
  if (isRenderDue) return;
  isRenderDue = true;
  requestAnimationFrame(render);
});

function render(): void {
  isRenderDue = false;
  const state = store.get();
  const isNew = app.hidden && state.isSignedIn;
  app.hidden = !state.isSignedIn;
  const title = state.open.title ?? 'New conversation';
  setText(byId('title', HTMLElement), title);
  document.title =
    state.isSignedIn && state.open.title !== null ? `${state.open.title} · Colloquy` : 'Colloquy';
  thread.render(state, Date.now());
  for (const view of views) view.render(state);
  scroll.follow();
  if (isNew) composer.focus();
  clearTimeout(countdown);
  if (liveInView(state)?.answer.link === 'delayed')
    countdown = setTimeout(render, COUNTDOWN_STEP_MS);
}

startKeyboard({
  beginNew,
  escape: () => {
    if (!drawer.close()) void runner.stop();
  },
});
addEventListener('popstate', () => void showFromAddress());

/** Adds an entry to the history unless the address is there already. */
function showAddress(conversationId: string | null): void {
  const path = addressOf(conversationId);
  if (location.pathname !== path) history.pushState(null, '', path);
}

async function showFromAddress(): Promise<void> {
  await conversations.show(conversationInPath(location.pathname));
}

/** Not crypto.randomUUID: a page that is not served over TLS has none. */
function newIdempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** A token in the address is used and leaves the address at once, so that it gets into no history or screenshot. */
function takeToken(): string | undefined {
  const token = tokenInFragment(location.hash);
  if (token === null) return undefined;
  history.replaceState(null, '', location.pathname);
  return token;
}

addEventListener('hashchange', () => {
  const token = takeToken();
  if (token !== undefined) void session.signIn(token);
});
void session.signIn(takeToken());
