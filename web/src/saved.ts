// Small values that outlive the page, in localStorage. A browser that forbids storage only forgets.

/** What of `Storage` is used. */
export interface KeyValue {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** A saved JSON value; null when absent or spoilt. Its shape is the caller's to check: anyone may have written it. */
export function readSaved(storage: KeyValue, key: string): unknown {
  try {
    const text = storage.getItem(key);
    return text === null ? null : (JSON.parse(text) as unknown);
  } catch {
    return null;
  }
}

/** Null removes the value. */
export function writeSaved(storage: KeyValue, key: string, value: unknown): void {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: the page works without.
  }
}
