// Light, dark, or as the system has it. The stylesheet does the rest by `color-scheme`.
import { byId } from './dom.ts';
import { icon, iconButton } from './icons.ts';
import type { IconName } from './icons.ts';
import { readSaved, writeSaved } from './saved.ts';
import type { KeyValue } from './saved.ts';

const KEY = 'colloquy.theme';
const THEMES = ['system', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];
const ICONS: Readonly<Record<Theme, IconName>> = { system: 'auto', light: 'sun', dark: 'moon' };
const WORDS: Readonly<Record<Theme, string>> = {
  system: 'as the system',
  light: 'light',
  dark: 'dark',
};

/** Applies the saved theme and puts the button that changes it into the top bar. */
export function startTheme(storage: KeyValue): void {
  let theme = THEMES.find((each) => each === readSaved(storage, KEY)) ?? 'system';
  const button = iconButton(ICONS[theme], '', () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'system';
    writeSaved(storage, KEY, theme === 'system' ? null : theme);
    apply();
  });
  const apply = (): void => {
    document.documentElement.dataset['theme'] = theme;
    button.replaceChildren(icon(ICONS[theme]));
    const label = `Colours: ${WORDS[theme]}`;
    button.setAttribute('aria-label', label);
    button.title = label;
  };
  apply();
  byId('top-bar', HTMLElement).append(button);
}
