// A button that copies a text and says so.
import { icon, iconButton } from './icons.ts';

const SHOWN_MS = 1600;

/** @param text read when the button is pressed */
export function copyButton(label: string, text: () => string): HTMLButtonElement {
  const button = iconButton('copy', label, () => {
    void copyText(text()).then((isCopied) => {
      if (!isCopied) return;
      show('check', 'Copied');
      setTimeout(() => show('copy', label), SHOWN_MS);
    });
  });
  const show = (name: 'copy' | 'check', words: string): void => {
    button.replaceChildren(icon(name));
    button.setAttribute('aria-label', words);
    button.title = words;
  };
  return button;
}

/** Pages that are not served over TLS have no clipboard but the old command. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'off-screen';
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand('copy');
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}
