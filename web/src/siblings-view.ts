// `2 of 3` with arrows, under a message that was edited or an answer that was written again.
import { versionsOf } from './branches.ts';
import type { PathStep, Versions } from './branches.ts';
import { element, setText } from './dom.ts';
import { iconButton } from './icons.ts';

export interface SiblingsView {
  readonly element: HTMLElement;
  update(step: PathStep): void;
}

/** @param onChoose gets the turn to show instead */
export function createSiblingsView(what: string, onChoose: (turnId: string) => void): SiblingsView {
  let shown: Versions | null = null;
  const go = (turnId: string | null | undefined): void => {
    if (typeof turnId === 'string') onChoose(turnId);
  };
  const previous = iconButton('left', `Previous version of ${what}`, () => go(shown?.previous));
  const next = iconButton('right', `Next version of ${what}`, () => go(shown?.next));
  const count = element('span', { class: 'siblings-count' });
  const root = element(
    'span',
    { class: 'siblings', role: 'group', 'aria-label': `Versions of ${what}` },
    previous,
    count,
    next,
  );
  return {
    element: root,
    update: (step) => {
      shown = versionsOf(step);
      root.hidden = shown === null;
      if (shown === null) return;
      setText(count, shown.words);
      // Not `disabled`: who got to an end by keyboard would lose the button under it.
      previous.setAttribute('aria-disabled', String(shown.previous === null));
      next.setAttribute('aria-disabled', String(shown.next === null));
    },
  };
}
