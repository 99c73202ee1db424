// A question before something that cannot be undone.
import { byId, element } from './dom.ts';

/** Resolves true when the reader confirms. Focus begins on the harmless answer and returns to where it was. */
export function confirmAction(
  question: string,
  consequence: string,
  verb: string,
): Promise<boolean> {
  const dialog = byId('dialog', HTMLDialogElement);
  const cancel = element('button', { type: 'button', class: 'button', autofocus: true }, 'Cancel');
  const confirm = element('button', { type: 'button', class: 'button danger' }, verb);
  dialog.replaceChildren(
    element('h2', { id: 'dialog-text' }, question),
    element('p', { class: 'muted' }, consequence),
    element('div', { class: 'dialog-actions' }, cancel, confirm),
  );
  return new Promise((resolve) => {
    cancel.addEventListener('click', () => dialog.close(''));
    confirm.addEventListener('click', () => dialog.close('confirmed'));
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'confirmed'), {
      once: true,
    });
    dialog.returnValue = '';
    dialog.showModal();
  });
}
