// What the address bar says: `/c/<conversation>`, so that a reload, a bookmark and the back button find it again, and
// a token that was handed over as `#token=…`. Pure.

export function addressOf(conversationId: string | null): string {
  return conversationId === null ? '/' : `/c/${conversationId}`;
}

export function conversationInPath(path: string): string | null {
  return /^\/c\/([0-9a-f-]{36})$/i.exec(path)?.[1] ?? null;
}

/** The token of `#token=…`; null when the fragment has none. */
export function tokenInFragment(fragment: string): string | null {
  const token = new URLSearchParams(fragment.replace(/^#/, '')).get('token');
  return token === null || token.trim() === '' ? null : token.trim();
}
