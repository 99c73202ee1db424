// What turns take of a prompt by their stored counts: enough to know which of them can matter, before any is encoded. Pure.
import type { PromptTurn } from './prompt-parts.ts';

/** Of a message besides its text, in every template we have: markers, role, line ends. */
export const TEMPLATE_TOKENS = 5;
/** Of text that nobody counted; rounded down, as the gateway's. */
const CHARS_PER_TOKEN = 3;

type Counted = Pick<PromptTurn, 'tokenCount'> & { readonly content: string };

/** Tokens of one turn's message. */
export function storedCost({ tokenCount, content }: Counted): number {
  return (tokenCount ?? Math.ceil(content.length / CHARS_PER_TOKEN)) + TEMPLATE_TOKENS;
}

/**
 * The newest turns up to the one with which they are more than `maxTokens`, that one included: no older one can be in a
 * prompt, whether it was read or not.
 * @param turns oldest first
 * @returns isCut: there is such a turn
 */
export function newestWithin<Turn extends Counted>(
  turns: readonly Turn[],
  maxTokens: number,
): { readonly turns: readonly Turn[]; readonly isCut: boolean } {
  let taken = 0;
  const from = turns.findLastIndex((turn) => (taken += storedCost(turn)) > maxTokens);
  return from < 0 ? { turns, isCut: false } : { turns: turns.slice(from), isCut: true };
}
