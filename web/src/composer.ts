// The message box: Enter sends, Shift+Enter breaks the line; while an answer is written its button stops it.
import { liveInView } from './app-state.ts';
import type { AppState } from './app-state.ts';
import { byId } from './dom.ts';
import { icon } from './icons.ts';

export interface ComposerActions {
  readonly send: (text: string) => void;
  readonly stop: () => void;
}

export interface Composer {
  render(state: AppState): void;
  focus(): void;
}

export function createComposer(actions: ComposerActions): Composer {
  const form = byId('composer', HTMLFormElement);
  const area = byId('composer-text', HTMLTextAreaElement);
  const button = byId('send', HTMLButtonElement);
  let isBusy = false;
  let returned: AppState['returnedText'] = null;
  let shown: 'send' | 'stop' | null = null;

  const fit = (): void => {
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight}px`;
    button.disabled = !isBusy && area.value.trim() === '';
  };
  const submit = (): void => {
    const text = area.value;
    if (isBusy || text.trim() === '') return;
    area.value = '';
    fit();
    actions.send(text);
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (isBusy) actions.stop();
    else submit();
  });
  area.addEventListener('input', fit);
  area.addEventListener('keydown', (event) => {
    // An input method's Enter chooses a word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  form.addEventListener('pointerdown', (event) => {
    if (event.target !== form) return;
    event.preventDefault();
    area.focus();
  });

  return {
    render: (state) => {
      const live = liveInView(state);
      isBusy = live !== null;
      if (state.returnedText !== null && state.returnedText !== returned) {
        // What the reader has written since stays, after it.
        area.value =
          area.value.trim() === ''
            ? state.returnedText.text
            : `${state.returnedText.text}\n${area.value}`;
      }
      returned = state.returnedText;
      const show = isBusy ? 'stop' : 'send';
      if (shown !== show) {
        shown = show;
        button.replaceChildren(icon(show));
        const label = isBusy ? 'Stop answering' : 'Send message';
        button.setAttribute('aria-label', label);
        button.title = isBusy ? `${label} (Esc)` : label;
        button.dataset['action'] = show;
      }
      fit();
      button.disabled = button.disabled || live?.isStopping === true;
    },
    focus: () => area.focus(),
  };
}
