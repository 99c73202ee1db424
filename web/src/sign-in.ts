// The bearer token: pasted into a form, or handed over in the address as `#token=…`, and kept by this browser.
import type { AppState } from './app-state.ts';
import { byId, setText } from './dom.ts';
import { readSaved, writeSaved } from './saved.ts';
import type { KeyValue } from './saved.ts';

const KEY = 'colloquy.token';

export function savedToken(storage: KeyValue): string | null {
  const token = readSaved(storage, KEY);
  return typeof token === 'string' ? token : null;
}

/** Null forgets it. */
export function saveToken(storage: KeyValue, token: string | null): void {
  writeSaved(storage, KEY, token);
}

export interface SignInView {
  render(state: AppState): void;
}

export function createSignIn(onToken: (token: string) => void): SignInView {
  const view = byId('sign-in', HTMLElement);
  const input = byId('token', HTMLInputElement);
  const error = byId('sign-in-error', HTMLElement);
  byId('sign-in-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    const token = input.value.trim().replace(/^Bearer\s+/i, '');
    if (token !== '') onToken(token);
  });
  return {
    render: ({ isSignedIn, signInError }) => {
      const isNew = view.hidden && !isSignedIn;
      view.hidden = isSignedIn;
      setText(error, signInError ?? '');
      input.setAttribute('aria-invalid', String(signInError !== null));
      if (isSignedIn) input.value = '';
      if (isNew) input.focus();
    },
  };
}
