// The messages of the conversation in view, and what stands there when there are none.
import { createAnswerMessage } from './answer-message.ts';
import { liveAnswerTurns, liveInView, pathInView } from './app-state.ts';
import type { AppState } from './app-state.ts';
import { element } from './dom.ts';
import type { MessageActions, MessageView } from './message-view.ts';
import { createUserMessage } from './user-message.ts';

export interface ThreadView {
  render(state: AppState, nowMs: number): void;
}

export interface ThreadActions extends MessageActions {
  readonly loadOlder: () => void;
  readonly retry: () => void;
}

export function createThreadView(root: HTMLElement, actions: ThreadActions): ThreadView {
  const views: MessageView[] = [];
  const older = element(
    'button',
    { type: 'button', class: 'button older' },
    'Show earlier messages',
  );
  older.addEventListener('click', actions.loadOlder);
  const greeting = element(
    'div',
    { class: 'greeting' },
    element('p', { class: 'greeting-words' }, 'What is on your mind?'),
    element(
      'p',
      { class: 'muted' },
      'Ask anything. Answers survive a reload and a lost connection.',
    ),
  );
  const loading = element(
    'p',
    { class: 'muted thread-note', role: 'status' },
    'Loading the conversation…',
  );
  const failed = element(
    'div',
    { class: 'thread-note' },
    element('p', {}, 'This conversation could not be loaded.'),
  );
  const retry = element('button', { type: 'button', class: 'button' }, 'Try again');
  retry.addEventListener('click', actions.retry);
  failed.append(retry);
  const messages = element('div', { class: 'messages' });
  root.append(older, loading, failed, greeting, messages);

  const viewAt = (index: number, role: MessageView['role']): MessageView => {
    const there = views[index];
    if (there?.role === role) return there;
    const made = role === 'user' ? createUserMessage(actions) : createAnswerMessage(actions);
    if (there === undefined) messages.append(made.element);
    else there.element.replaceWith(made.element);
    views[index] = made;
    return made;
  };

  return {
    render: (state, nowMs) => {
      const path = pathInView(state);
      const live = liveInView(state);
      const liveIds = live === null ? [] : liveAnswerTurns(live).map(({ turn_id }) => turn_id);
      const { open } = state;
      older.hidden = open.nextCursor === null;
      loading.hidden = open.status !== 'loading' || path.length > 0;
      failed.hidden = open.status !== 'failed';
      greeting.hidden = path.length > 0 || open.status !== 'ready';
      for (const [index, step] of path.entries()) {
        viewAt(index, step.turn.role).update({
          step,
          live: liveIds.includes(step.turn.turn_id) ? live : null,
          canAct: live === null,
          isLast: index === path.length - 1,
          facts: state.remembered.facts,
          nowMs,
        });
      }
      for (const view of views.splice(path.length)) view.element.remove();
    },
  };
}
