// Signing in and out, and what is loaded in between: models, the list, the conversation of the address.
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import { SIGNED_OUT } from './app-state.ts';
import type { AppState } from './app-state.ts';
import { waitForLink } from './link.ts';
import type { Link } from './link.ts';
import { readSaved, writeSaved } from './saved.ts';
import type { KeyValue } from './saved.ts';
import { savedToken, saveToken } from './sign-in.ts';
import type { Store } from './store.ts';

const MODEL_KEY = 'colloquy.model';
const RETRY_MS = 2000;

export interface SessionDeps {
  readonly api: ApiClient;
  readonly store: Store<AppState>;
  readonly storage: KeyValue;
  readonly link: Link;
  /** Once the token is known to be good. */
  readonly onSignedIn: () => void;
  readonly onSignedOut: () => void;
}

export interface Session {
  token(): string;
  /** Tries a token: the saved one when none is given. */
  signIn(token?: string): Promise<void>;
  signOut(message: string | null): void;
  /** Null leaves it to the service. */
  chooseModel(model: string | null): void;
}

export function createSession(deps: SessionDeps): Session {
  const { store, storage } = deps;
  let token = savedToken(storage);

  const signOut = (message: string | null): void => {
    token = null;
    saveToken(storage, null);
    deps.onSignedOut();
    store.set({ ...SIGNED_OUT, signInError: message });
  };

  /** Waits out an unreachable or busy service: the token may be good. */
  const loadModels = async (): Promise<AppState['models']> => {
    for (;;) {
      try {
        return await deps.api.models();
      } catch (error) {
        if (!(error instanceof ApiError) || !(error.isUnreachable || error.isTemporary))
          throw error;
        store.set({ signInError: `${error.message} Trying again…` });
        await waitForLink(
          deps.link,
          (error.retryAfterSeconds ?? 0) * 1000 || RETRY_MS,
          new AbortController().signal,
        );
      }
    }
  };

  return {
    token: () => token ?? '',
    signOut,
    chooseModel: (model) => {
      writeSaved(storage, MODEL_KEY, model);
      store.set({ model });
    },
    signIn: async (given) => {
      token = given ?? token;
      if (token === null) {
        store.set({ isSignedIn: false });
        return;
      }
      try {
        const models = await loadModels();
        saveToken(storage, token);
        const saved = readSaved(storage, MODEL_KEY);
        const model = models.find(({ id }) => id === saved)?.id ?? null;
        store.set({ isSignedIn: true, signInError: null, models, model });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        signOut(
          error.status === 401
            ? 'This token is not accepted. Check that it is complete.'
            : error.message,
        );
        return;
      }
      deps.onSignedIn();
    },
  };
}
