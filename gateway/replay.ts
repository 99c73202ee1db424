// From log entries to frames: what is shown, under which name, and how a replay merges tokens.
import { wireLogprobs } from '../contracts/logprobs.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import { frame } from './sse.ts';

/** Characters of one merged token frame: large enough to be few, small enough for a client's line buffer. */
const MAX_MERGED_CHARS = 64 * 1024;

/** The frame of one entry, or null for what is not shown. */
export function frameOf(entry: NumberedEntry): string | null {
  switch (entry.type) {
    case 'safe':
    case 'lost':
    case 'finish':
      return null;
    case 'end':
      return frame(entry.n, 'done', entry.data);
    case 'token': {
      const { text, index, logprobs } = entry.data;
      if (text === '' && logprobs === undefined) return null;
      return frame(entry.n, 'token', {
        ...(index === undefined ? {} : { index }),
        text,
        ...(logprobs === undefined ? {} : { logprobs: wireLogprobs(logprobs) }),
      });
    }
    default:
      return frame(entry.n, entry.type, entry.data);
  }
}

/**
 * Runs of token entries of one reply become one entry that carries the last number; a text is never split. Replies that
 * were written side by side alternate, and no number could stand for half of a run of both. Logprobs are long already.
 */
export function mergeTokens(entries: readonly NumberedEntry[]): NumberedEntry[] {
  const merged: NumberedEntry[] = [];
  for (const entry of entries) {
    const last = merged.at(-1);
    if (
      entry.type === 'token' &&
      last?.type === 'token' &&
      last.data.index === entry.data.index &&
      last.data.logprobs === undefined &&
      entry.data.logprobs === undefined &&
      last.data.text.length + entry.data.text.length <= MAX_MERGED_CHARS
    ) {
      merged[merged.length - 1] = {
        n: entry.n,
        type: 'token',
        data: { ...last.data, text: last.data.text + entry.data.text, ids: [] },
      };
    } else {
      merged.push(entry);
    }
  }
  return merged;
}
