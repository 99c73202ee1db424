// A message as the user wrote it: plain text; it can be copied, and edited into a new branch.
import { isPending } from './app-state.ts';
import { copyButton } from './copy-button.ts';
import { element, setText } from './dom.ts';
import { iconButton } from './icons.ts';
import type { MessageActions, MessageProps, MessageView } from './message-view.ts';
import { createSiblingsView } from './siblings-view.ts';

export function createUserMessage(actions: MessageActions): MessageView {
  let props: MessageProps | null = null;
  const bubble = element('div', { class: 'bubble' });
  const siblings = createSiblingsView('this message', actions.choose);
  const edit = iconButton('edit', 'Edit message', () => startEdit());
  // An answer that never came (the page was away too long, or the service lost it) can be asked for again.
  const again = element(
    'button',
    { type: 'button', class: 'text-button' },
    'No answer yet. Send again',
  );
  again.addEventListener('click', () => {
    if (props !== null) actions.edit(props.step.turn, props.step.turn.content);
  });
  const copy = copyButton('Copy message', () => props?.step.turn.content ?? '');
  const toolbar = element('div', { class: 'toolbar' }, again, siblings.element, copy, edit);
  const article = element(
    'article',
    { class: 'message user', 'aria-label': 'Your message' },
    bubble,
    toolbar,
  );
  let form: HTMLFormElement | null = null;

  const endEdit = (): void => {
    form?.remove();
    form = null;
    bubble.hidden = false;
    toolbar.hidden = false;
  };
  const startEdit = (): void => {
    if (props === null || form !== null) return;
    const { turn } = props.step;
    form = editForm(
      turn.content,
      (text) => {
        endEdit();
        actions.edit(turn, text);
      },
      () => {
        endEdit();
        edit.focus();
      },
    );
    bubble.hidden = true;
    toolbar.hidden = true;
    article.append(form);
    form.querySelector('textarea')?.focus();
  };

  return {
    role: 'user',
    element: article,
    update: (next) => {
      const { turn } = next.step;
      if (props !== null && props.step.turn.turn_id !== turn.turn_id) endEdit();
      props = next;
      article.dataset['turn'] = turn.turn_id;
      setText(bubble, turn.content);
      siblings.update(next.step);
      again.hidden = !next.isLast || !next.canAct || isPending(turn.turn_id);
      edit.disabled = !next.canAct;
    },
  };
}

function editForm(
  text: string,
  onSend: (text: string) => void,
  onCancel: () => void,
): HTMLFormElement {
  const area = element('textarea', { 'aria-label': 'Edited message', rows: '2' });
  area.value = text;
  const cancel = element('button', { type: 'button', class: 'button' }, 'Cancel');
  const send = element('button', { type: 'submit', class: 'button primary' }, 'Send');
  const form = element(
    'form',
    { class: 'edit-form' },
    area,
    element('div', { class: 'edit-actions' }, cancel, send),
  );
  cancel.addEventListener('click', onCancel);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (area.value.trim() !== '') onSend(area.value);
  });
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      onCancel();
    } else if (
      event.key === 'Enter' &&
      !event.shiftKey &&
      !event.isComposing &&
      event.target === area
    ) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return form;
}
