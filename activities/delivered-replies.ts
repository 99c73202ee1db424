// What a turn's log delivered of each of its replies. Pure.
import type { NumberedEntry } from '../contracts/turn-events.ts';
import type { FinishReason } from '../contracts/turn-facts.ts';

export interface DeliveredReply {
  readonly text: string;
  readonly numTokens: number;
  /** Why it ended, when it did before the turn as a whole; null where the turn's own reason holds. */
  readonly finishReason: FinishReason | null;
  /** Length of its text after each entry of the log; -1 where nobody knows what readers have. At least one element. */
  readonly offsets: readonly number[];
}

export function deliveredReplies(
  entries: readonly NumberedEntry[],
  numSamples: number,
): DeliveredReply[] {
  return Array.from({ length: numSamples }, (_, index) => deliveredReply(entries, index));
}

function deliveredReply(entries: readonly NumberedEntry[], index: number): DeliveredReply {
  let text = '';
  let numTokens = 0;
  let finishReason: FinishReason | null = null;
  const offsets = entries.map(({ type, data }) => {
    if (type === 'token' && (data.index ?? 0) === index) {
      text += data.text;
      numTokens += data.ids.length;
    }
    if (type === 'finish' && data.index === index) finishReason = data.reason;
    if (type === 'lost') return data.is_whole ? Infinity : -1;
    return text.length;
  });
  return {
    text,
    numTokens,
    finishReason,
    offsets: offsets.length === 0 ? [0] : offsets.map((each) => Math.min(each, text.length)),
  };
}
