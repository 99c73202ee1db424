// `2 of 3` with arrows, under a message that was edited or an answer that was written again.
import type { PathStep } from './branches.ts';
import { element, setText } from './dom.ts';
import { iconButton } from './icons.ts';

export interface SiblingsView {
  readonly element: HTMLElement;
  update(step: PathStep): void;
}

/** @param onChoose gets the turn to show instead */
export function createSiblingsView(what: string, onChoose: (turnId: string) => void): SiblingsView {
  let shown: PathStep | null = null;
  const index = (): number =>
    shown?.siblings.findIndex(({ turn_id }) => turn_id === shown?.turn.turn_id) ?? 0;
  const go = (by: number): void => {
    const next = shown?.siblings[index() + by];
    if (next !== undefined) onChoose(next.turn_id);
  };
  const previous = iconButton('left', `Previous version of ${what}`, () => go(-1));
  const next = iconButton('right', `Next version of ${what}`, () => go(1));
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
      shown = step;
      root.hidden = step.siblings.length < 2;
      setText(count, `${index() + 1} of ${step.siblings.length}`);
      previous.disabled = index() === 0;
      next.disabled = index() === step.siblings.length - 1;
    },
  };
}
