// On narrow screens the list of conversations is a drawer over the page.
import { byId } from './dom.ts';
import { iconButton } from './icons.ts';

export interface Drawer {
  /** True when it was open. */
  close(): boolean;
}

export function createDrawer(): Drawer {
  const sidebar = byId('sidebar', HTMLElement);
  const app = byId('app', HTMLElement);
  const narrow = matchMedia('(max-width: 52rem)');
  const toggle = iconButton('menu', 'Conversations', () => set(!isOpen()));
  toggle.classList.add('drawer-toggle');
  toggle.setAttribute('aria-controls', sidebar.id);
  byId('top-bar', HTMLElement).prepend(toggle);

  const isOpen = (): boolean => app.classList.contains('is-drawer-open');
  const set = (isToOpen: boolean): void => {
    const had = sidebar.contains(document.activeElement);
    app.classList.toggle('is-drawer-open', isToOpen);
    toggle.setAttribute('aria-expanded', String(isToOpen));
    // Out of sight is out of reach of Tab as well.
    sidebar.inert = narrow.matches && !isToOpen;
    if (isToOpen) sidebar.querySelector<HTMLElement>('button, a')?.focus();
    else if (had) toggle.focus();
  };
  const close = (): boolean => {
    const was = narrow.matches && isOpen();
    set(false);
    return was;
  };
  byId('scrim', HTMLElement).addEventListener('click', close);
  narrow.addEventListener('change', close);
  close();
  return { close };
}
