// What following a stream needs of the world around it: time, and news of the network. Apart, so that tests own both.

export interface Link {
  /** Calls back after `ms`; returns how to call it off. */
  after(ms: number, callback: () => void): () => void;
  isOnline(): boolean;
  /** Calls back when the network comes or goes; returns how to call it off. */
  onChange(callback: () => void): () => void;
}

/** Resolves after `ms`, or as soon as the network comes (back). @throws the signal's reason */
export function waitForLink(link: Link, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => () => {
      cancelTimer();
      cancelWatch();
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const onAbort = end(() => reject(signal.reason as Error));
    // Without a network a timer that runs out is of no use, but navigator.onLine is not to be trusted when it says no.
    const cancelTimer = link.after(ms, end(resolve));
    const cancelWatch = link.onChange(() => {
      if (link.isOnline()) end(resolve)();
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
  });
}
