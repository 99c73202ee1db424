// The address bar: `/c/<conversation>`, so that a reload, a bookmark and the back button find it again.

export function conversationInPath(path: string): string | null {
  return /^\/c\/([0-9a-f-]{36})$/i.exec(path)?.[1] ?? null;
}

/** Adds an entry to the history unless the address is there already. */
export function showAddress(conversationId: string | null): void {
  const path = conversationId === null ? '/' : `/c/${conversationId}`;
  if (location.pathname !== path) history.pushState(null, '', path);
}
