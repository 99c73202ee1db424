// The list of conversations, newest first: links, with renaming and deleting beside each.
import type { Conversation } from './api-types.ts';
import type { AppState } from './app-state.ts';
import { element, setText } from './dom.ts';
import { iconButton } from './icons.ts';
import { periodOf } from './periods.ts';

export interface ConversationListActions {
  readonly show: (id: string) => void;
  readonly rename: (id: string, title: string) => void;
  readonly remove: (conversation: Conversation) => void;
  readonly loadOlder: () => void;
}

export interface ConversationListView {
  render(state: AppState): void;
}

export function createConversationList(
  root: HTMLElement,
  actions: ConversationListActions,
): ConversationListView {
  const list = element('ul');
  const older = element('button', { type: 'button', class: 'text-button' }, 'Show older');
  const empty = element(
    'p',
    { class: 'muted list-empty' },
    'Your conversations will be listed here.',
  );
  older.addEventListener('click', actions.loadOlder);
  root.append(list, empty, older);
  const items = new Map<string, ConversationItem>();

  return {
    render: ({ conversations, nextCursor, open, live }) => {
      older.hidden = nextCursor === null;
      empty.hidden = conversations.length > 0;
      const ids = new Set(conversations.map(({ conversation_id }) => conversation_id));
      for (const [id, item] of items) {
        if (ids.has(id)) continue;
        item.element.remove();
        items.delete(id);
      }
      const now = new Date();
      let period = '';
      let place: Element | null = list.firstElementChild;
      for (const conversation of conversations) {
        const id = conversation.conversation_id;
        const item = items.get(id) ?? createItem(actions);
        items.set(id, item);
        const next = periodOf(conversation.last_turn_at, now);
        item.update(conversation, id === open.id, live.has(id), next === period ? null : next);
        period = next;
        // Moving an element takes its focus away, so only those that are out of place move.
        if (item.element === place) place = place.nextElementSibling;
        else list.insertBefore(item.element, place);
      }
    },
  };
}

interface ConversationItem {
  readonly element: HTMLLIElement;
  /** @param heading what stands above this item, which begins a period */
  update(
    conversation: Conversation,
    isOpen: boolean,
    isRunning: boolean,
    heading: string | null,
  ): void;
}

function createItem(actions: ConversationListActions): ConversationItem {
  let shown: Conversation | null = null;
  const link = element('a', { class: 'conversation-link' });
  const rename = iconButton('edit', 'Rename', () => edit());
  const remove = iconButton('trash', 'Delete', () => {
    if (shown !== null) actions.remove(shown);
  });
  const above = element('h2', { class: 'period' });
  const row = element(
    'div',
    { class: 'conversation' },
    link,
    element('span', { class: 'conversation-tools' }, rename, remove),
  );
  const item = element('li', {}, above, row);
  link.addEventListener('click', (event) => {
    // Another tab or window is the browser's business.
    if (event.ctrlKey || event.metaKey || event.shiftKey || shown === null) return;
    event.preventDefault();
    actions.show(shown.conversation_id);
  });

  const edit = (): void => {
    if (shown === null) return;
    const { conversation_id: id, title } = shown;
    const input = element('input', { class: 'rename', 'aria-label': 'Title', maxlength: '200' });
    input.value = title ?? '';
    let isOver = false;
    const end = (isKept: boolean): void => {
      if (isOver) return;
      isOver = true;
      const next = input.value.trim();
      const hadFocus = document.activeElement === input;
      input.replaceWith(link);
      row.classList.remove('is-editing');
      if (hadFocus) rename.focus();
      if (isKept && next !== '' && next !== title) actions.rename(id, next);
    };
    input.addEventListener('blur', () => end(true));
    input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.stopPropagation();
      event.preventDefault();
      end(event.key === 'Enter');
    });
    row.classList.add('is-editing');
    link.replaceWith(input);
    input.focus();
    input.select();
  };

  return {
    element: item,
    update: (conversation, isOpen, isRunning, heading) => {
      setText(above, heading ?? '');
      above.hidden = heading === null;
      shown = conversation;
      const title = conversation.title ?? 'New conversation';
      setText(link, title);
      link.href = `/c/${conversation.conversation_id}`;
      link.title = title;
      rename.setAttribute('aria-label', `Rename ${title}`);
      remove.setAttribute('aria-label', `Delete ${title}`);
      row.classList.toggle('is-running', isRunning);
      if (isOpen) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    },
  };
}
