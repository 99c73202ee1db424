// A turn's log as its generation remembers it: enough to continue it, and to restore it when Redis loses it.
import type { Continuation } from '../contracts/engine.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';

export interface RecalledLog {
  /** Entries 1 … n without gaps; grows as the generation appends. */
  readonly entries: NumberedEntry[];
  /** All output ids so far, in order; grows as the engine samples. */
  readonly outputIds: number[];
}

export function recallLog(entries: readonly NumberedEntry[]): RecalledLog {
  return {
    entries: [...entries],
    outputIds: entries.flatMap((entry) => (entry.type === 'token' ? entry.data.ids : [])),
  };
}

/** How the log's reply went on after its interruptions: by text if it ever did, null if it was never cut. */
export function continuationOf(entries: readonly NumberedEntry[]): Continuation | null {
  const all = entries.flatMap((entry) => (entry.type === 'retry' ? entry.data.continuation : []));
  if (all.includes('text')) return 'text';
  return all.includes('tokens') ? 'tokens' : null;
}
