// One line above the message box: what was refused and why.
import type { AppState } from './app-state.ts';
import { element, setText } from './dom.ts';

export interface NoticeView {
  render(state: AppState): void;
}

export function createNotice(root: HTMLElement, onDismiss: () => void): NoticeView {
  const words = element('span');
  const dismiss = element('button', { type: 'button', class: 'text-button' }, 'Dismiss');
  dismiss.addEventListener('click', onDismiss);
  root.append(words, dismiss);
  return {
    render: ({ notice }) => {
      root.hidden = notice === null;
      root.dataset['kind'] = notice?.kind ?? '';
      setText(words, notice?.text ?? '');
    },
  };
}
