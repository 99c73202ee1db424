// A value and who wants to hear of the next one. Knows nothing of what it holds.

export interface Store<State> {
  get(): State;
  /** Replaces the named fields. Listeners run before it returns. */
  set(patch: Partial<State>): void;
  /** Returns how to stop listening. */
  subscribe(listener: () => void): () => void;
}

export function createStore<State extends object>(initial: State): Store<State> {
  let state = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => state,
    set: (patch) => {
      state = { ...state, ...patch };
      for (const listener of listeners) listener();
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
