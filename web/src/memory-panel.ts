// The panel of what is remembered: a list to read, add to, edit and remove from, and the switch for all of it.
import type { RememberedFact } from './api-types.ts';
import type { AppState } from './app-state.ts';
import { confirmAction } from './confirm.ts';
import { byId, element } from './dom.ts';
import { icon, iconButton } from './icons.ts';
import type { Remembered } from './remembered.ts';

export interface MemoryPanel {
  /** What opens it. */
  readonly opener: HTMLElement;
  render(state: AppState): void;
}

export function createMemoryPanel(remembered: Remembered): MemoryPanel {
  const dialog = byId('memory', HTMLDialogElement);
  const opener = element(
    'button',
    { type: 'button', class: 'text-button' },
    icon('memory'),
    'Memory',
  );
  opener.addEventListener('click', () => {
    void remembered.load();
    dialog.showModal();
  });
  const box = element('input', { type: 'checkbox', id: 'memory-enabled' });
  box.addEventListener('change', () => void remembered.setEnabled(box.checked));
  const toggle = element(
    'label',
    { class: 'memory-switch', for: box.id },
    box,
    'Learn from my messages, and use it in answers',
  );
  const list = element('ul', { class: 'memory-list' });
  const empty = element('p', { class: 'muted' }, 'Nothing is remembered.');
  const input = element('input', {
    type: 'text',
    maxlength: '4000',
    placeholder: 'Something to remember',
    'aria-label': 'Something to remember',
    required: true,
  });
  const form = element(
    'form',
    { class: 'memory-add' },
    input,
    element('button', { type: 'submit', class: 'button' }, 'Add'),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text === '') return;
    input.value = '';
    void remembered.change({ add: [text] });
  });
  const all = element('button', { type: 'button', class: 'button' }, 'Forget everything');
  all.addEventListener('click', () => {
    const words = 'It is removed for good, and does not come back from what you have said so far.';
    void confirmAction('Forget everything?', words, 'Forget').then((isSure) => {
      if (isSure) void remembered.forgetAll().then(() => input.focus());
    });
  });
  const close = element('button', { type: 'button', class: 'button' }, 'Close');
  close.addEventListener('click', () => dialog.close());
  dialog.replaceChildren(
    element('h2', { id: 'memory-title' }, 'Memory'),
    toggle,
    empty,
    list,
    form,
    element('div', { class: 'dialog-actions' }, all, close),
  );

  let shown: AppState['remembered'] | null = null;
  return {
    opener,
    render: ({ isSignedIn, remembered: next }) => {
      if (!isSignedIn && dialog.open) dialog.close();
      if (next === shown) return;
      shown = next;
      box.checked = next.isEnabled;
      empty.hidden = next.facts.length > 0;
      all.disabled = next.facts.length === 0;
      list.replaceChildren(...next.facts.map((fact) => factItem(fact, remembered, input)));
    },
  };
}

/** @param after gets the focus when the fact has gone */
function factItem(fact: RememberedFact, remembered: Remembered, after: HTMLElement): HTMLElement {
  const text = element('span', { class: 'memory-text' }, fact.text);
  const edit = iconButton('edit', `Edit: ${fact.text}`, () => beginEdit());
  const remove = iconButton('trash', `Forget: ${fact.text}`, () => {
    after.focus();
    void remembered.change({ remove: [fact.fact_id] });
  });
  const item = element('li', {}, text, edit, remove);
  const beginEdit = (): void => {
    const field = element('input', { type: 'text', maxlength: '4000', 'aria-label': 'Fact' });
    field.value = fact.text;
    const end = (): void => {
      item.replaceChildren(text, edit, remove);
      edit.focus();
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing || (event.key !== 'Enter' && event.key !== 'Escape')) return;
      // Esc would close the panel, Enter would do nothing here.
      event.preventDefault();
      const words = field.value.trim();
      if (event.key === 'Enter' && words !== '' && words !== fact.text)
        void remembered.change({ edit: [{ fact_id: fact.fact_id, text: words }] });
      end();
    });
    item.replaceChildren(field);
    field.focus();
  };
  return item;
}
