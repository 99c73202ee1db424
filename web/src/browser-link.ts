// Time and the network as the browser has them.
import type { Link } from './link.ts';

/** A tab that becomes visible counts as a change: its timers may have slept for long. */
export function browserLink(): Link {
  return {
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    isOnline: () => navigator.onLine,
    onChange: (callback) => {
      const control = new AbortController();
      for (const event of ['online', 'offline'])
        addEventListener(event, callback, { signal: control.signal });
      document.addEventListener('visibilitychange', callback, { signal: control.signal });
      return () => control.abort();
    },
  };
}
