// A block of code: its language, a button that copies it, and a box that scrolls when a line is long.
import { element } from './dom.ts';
import { copyButton } from './copy-button.ts';

/** Wraps `pre`, which must be in a parent. */
export function addCodeTools(pre: HTMLPreElement): void {
  const language =
    /(?:^|\s)language-([\w+#.-]{1,24})/.exec(pre.querySelector('code')?.className ?? '')?.[1] ?? '';
  const head = element('div', { class: 'code-head' }, element('span', {}, language));
  head.append(copyButton('Copy code', () => pre.textContent ?? ''));
  const box = element('div', { class: 'code-block' });
  pre.replaceWith(box);
  // Reachable by keyboard, so that it can be scrolled.
  pre.tabIndex = 0;
  box.append(head, pre);
}
