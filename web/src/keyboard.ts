// Keys that work anywhere on the page. Fields that mean something else by Esc keep it to themselves.

export interface KeyboardActions {
  readonly beginNew: () => void;
  readonly escape: () => void;
}

export function startKeyboard({ beginNew, escape }: KeyboardActions): void {
  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]') !== null) return;
    if (event.key === 'Escape' && !event.isComposing) escape();
    if (event.key.toLowerCase() === 'o' && event.shiftKey && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      beginNew();
    }
  });
}
