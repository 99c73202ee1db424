// Keeps the newest text in view until the reader scrolls up; coming back to the end, or the button, takes it up again.
import { icon } from './icons.ts';
import { element } from './dom.ts';

/** Closer than this to the end counts as being there. */
const AT_END_PX = 32;

export interface AutoScroll {
  /** Call after content changed. */
  follow(): void;
  /** Goes to the end and stays there. */
  toEnd(): void;
  /** Content is about to be added above: call the result when it is there, and what was in view is in view again. */
  holdPlace(): () => void;
}

/** @param jumpSlot where the button that leads back to the end is put */
export function createAutoScroll(
  scroller: HTMLElement,
  content: HTMLElement,
  jumpSlot: HTMLElement,
): AutoScroll {
  let isFollowing = true;
  let lastTop = 0;
  const distance = (): number => scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
  const button = element(
    'button',
    { type: 'button', class: 'jump-button', 'aria-label': 'To the newest text' },
    icon('down'),
  );
  button.hidden = true;
  jumpSlot.append(button);

  const show = (): void => {
    button.hidden = isFollowing || distance() < AT_END_PX;
  };
  const follow = (): void => {
    if (isFollowing) scroller.scrollTop = scroller.scrollHeight;
    show();
  };
  const toEnd = (): void => {
    isFollowing = true;
    follow();
  };
  button.addEventListener('click', toEnd);
  scroller.addEventListener('scroll', () => {
    // Direction tells the reader's hand from text that grew meanwhile.
    if (distance() < AT_END_PX) isFollowing = true;
    else if (scroller.scrollTop < lastTop) isFollowing = false;
    lastTop = scroller.scrollTop;
    show();
  });
  // Wheel and keys speak before the scroll event does, and would lose against the next token.
  scroller.addEventListener(
    'wheel',
    (event) => {
      if (event.deltaY < 0 && scroller.scrollHeight > scroller.clientHeight) isFollowing = false;
    },
    { passive: true },
  );
  new ResizeObserver(follow).observe(content);
  new ResizeObserver(follow).observe(scroller);
  const holdPlace = (): (() => void) => {
    isFollowing = false;
    const below = scroller.scrollHeight - scroller.scrollTop;
    return () => {
      scroller.scrollTop = scroller.scrollHeight - below;
    };
  };
  return { follow, toEnd, holdPlace };
}
