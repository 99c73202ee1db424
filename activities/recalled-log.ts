// A turn's log as its generation remembers it: enough to continue it, and to restore it when Redis loses it.
import type { Continuation } from '../contracts/engine.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';

export interface RecalledReply {
  /** All output ids so far, in order; grows as the engine samples. */
  readonly outputIds: number[];
  /** Characters that readers have. */
  readonly textLength: number;
  /** Why it is complete, where that is written: only with n > 1. */
  readonly finish: 'stop' | 'length' | null;
}

export interface RecalledLog {
  /** Entries 1 … n without gaps; grows as the generation appends. */
  readonly entries: NumberedEntry[];
  /** In order of their index; one as a rule. */
  readonly replies: readonly RecalledReply[];
}

export function recallLog(entries: readonly NumberedEntry[], numSamples: number): RecalledLog {
  const replies = Array.from({ length: numSamples }, (_, index) => recallReply(entries, index));
  return { entries: [...entries], replies };
}

function recallReply(entries: readonly NumberedEntry[], index: number): RecalledReply {
  const outputIds: number[] = [];
  let textLength = 0;
  let finish: RecalledReply['finish'] = null;
  for (const { type, data } of entries) {
    if (type === 'token' && (data.index ?? 0) === index) {
      outputIds.push(...data.ids);
      textLength += data.text.length;
    }
    if (type === 'finish' && data.index === index) finish = data.reason;
  }
  return { outputIds, textLength, finish };
}

/** Output tokens of all replies so far. */
export function numOutputTokens({ replies }: RecalledLog): number {
  return replies.reduce((total, { outputIds }) => total + outputIds.length, 0);
}

/** How the log's reply went on after its interruptions: by text if it ever did, null if it was never cut. */
export function continuationOf(entries: readonly NumberedEntry[]): Continuation | null {
  const all = entries.flatMap((entry) => (entry.type === 'retry' ? entry.data.continuation : []));
  if (all.includes('text')) return 'text';
  return all.includes('tokens') ? 'tokens' : null;
}

/**
 * The most entries that a lost log can have had: those that are known of it, and what each earlier attempt may have added, which
 * is for each reply an entry for each token, its held-back text and its end, and one entry that announces the attempt.
 * @param maxTokens of a reply
 */
export function mostEntries(
  numKnown: number,
  attempt: number,
  maxTokens: number,
  numReplies: number,
): number {
  return numKnown + (attempt - 1) * (numReplies * (maxTokens + 2) + 1);
}

/**
 * Entries in place of lost ones, so that what is generated again has numbers that no reader has seen. Readers go by the place in
 * the text then.
 * @param isWhole whether who has the last of them has all text
 */
export function standIns(numKnown: number, through: number, isWhole: boolean): NumberedEntry[] {
  return Array.from({ length: Math.max(0, through - numKnown) }, (_, at) => {
    const n = numKnown + 1 + at;
    return { n, type: 'lost', data: { is_whole: isWhole && n === through } };
  });
}
