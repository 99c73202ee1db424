// What a model is asked for a summary: of turns, or of the summaries one level below. Pure.
import type { ChatMessage } from '../contracts/engine.ts';

/** One thing to be summarised. */
export interface SummarySource {
  /** `summary`: one of the level below. */
  readonly role: 'user' | 'assistant' | 'summary';
  readonly text: string;
}

const SPEAKERS = { user: 'User: ', assistant: 'Assistant: ', summary: '- ' } as const;
const ASK = {
  turns:
    'Summarise this conversation in one or two short sentences. Keep names, numbers, dates, places and decisions.',
  summaries:
    'Put these notes on one conversation into one or two short sentences. Keep names, numbers, dates, places and decisions.',
} as const;

/** Each cut takes this part of the longest texts away. */
const CUT = 0.7;
/** A text of so few characters is not cut further. */
const SHORTEST = 16;

/**
 * The request, its texts cut at their ends as far as it takes to fit.
 * @param encode chat template and tokenizer
 * @param maxTokens what the request may take
 * @returns its token ids; null when not even short texts fit
 */
export function summaryPrompt(
  sources: readonly SummarySource[],
  encode: (messages: readonly ChatMessage[]) => number[],
  maxTokens: number,
): number[] | null {
  const longest = Math.max(...sources.map(({ text }) => text.length), SHORTEST);
  for (let length = longest; length >= SHORTEST; length = Math.floor(length * CUT)) {
    const tokenIds = encode([request(sources, length)]);
    if (tokenIds.length <= maxTokens) return tokenIds;
  }
  return null;
}

function request(sources: readonly SummarySource[], maxLength: number): ChatMessage {
  const lines = sources
    .filter(({ text }) => text !== '')
    .map(({ role, text }) => `${SPEAKERS[role]}${cut(text, maxLength)}`);
  const ask = sources.some(({ role }) => role === 'summary') ? ASK.summaries : ASK.turns;
  return { role: 'user', content: `${lines.join('\n')}\n\n${ask}` };
}

function cut(text: string, maxLength: number): string {
  const isLong = text.length > maxLength;
  return isLong ? `${text.slice(0, maxLength).toWellFormed()}…` : text;
}
