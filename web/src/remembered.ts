// What the service remembers of its user, and what the user does about it. Changes the state; the views follow it.
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';
import type { MemoryChange, RememberedFact } from './api-types.ts';
import type { AppState } from './app-state.ts';
import type { Store } from './store.ts';

export interface RememberedDeps {
  readonly api: ApiClient;
  readonly store: Store<AppState>;
  /** Tells the reader of a refusal. */
  readonly failed: (error: ApiError) => void;
}

export interface Remembered {
  load(): Promise<void>;
  /** Reads the facts again when an answer used one that is not known here. */
  know(factIds: readonly string[]): Promise<void>;
  change(change: MemoryChange): Promise<void>;
  forgetAll(): Promise<void>;
  setEnabled(isEnabled: boolean): Promise<void>;
}

export function createRemembered({ api, store, failed }: RememberedDeps): Remembered {
  const set = (patch: Partial<AppState['remembered']>): void =>
    store.set({ remembered: { ...store.get().remembered, ...patch } });
  /** A refusal is told, and what is shown stays. */
  const attempt = async (work: Promise<Partial<AppState['remembered']>>): Promise<void> => {
    try {
      set(await work);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failed(error);
      // A new object: views show again what is so, whatever was typed or ticked.
      set({});
    }
  };
  const read = async (): Promise<Partial<AppState['remembered']>> => {
    const [facts, settings] = await Promise.all([api.memory(), api.settings()]);
    return { facts, isEnabled: settings.memory_enabled };
  };
  return {
    load: () => attempt(read()),
    know: async (factIds) => {
      const known = factTexts(store.get().remembered.facts);
      if (factIds.some((id) => !known.has(id))) await attempt(read());
    },
    change: (change) => attempt(api.changeMemory(change).then((facts) => ({ facts }))),
    forgetAll: () => attempt(api.forgetMemory().then(() => ({ facts: [] }))),
    setEnabled: (isEnabled) =>
      attempt(
        api
          .changeSettings({ memory_enabled: isEnabled })
          .then((settings) => ({ isEnabled: settings.memory_enabled })),
      ),
  };
}

/** Id → text. */
export function factTexts(facts: readonly RememberedFact[]): ReadonlyMap<string, string> {
  return new Map(facts.map(({ fact_id, text }) => [fact_id, text]));
}

/** The line under an answer; null when it used nothing that is still remembered. */
export function usedWords(
  factIds: readonly string[],
  facts: readonly RememberedFact[],
): string | null {
  const texts = factTexts(facts);
  const used = factIds.flatMap((id) => texts.get(id) ?? []);
  return used.length === 0 ? null : `Used: ${used.join(' · ')}`;
}
