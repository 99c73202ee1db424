// Which messages make the prompt: the system prompt, as much of the newest history as fits, the user's message. Pure.
import type { ChatMessage } from '../contracts/engine.ts';

export interface PromptTurn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

export interface PromptPlan {
  readonly tokenIds: readonly number[];
  /** Turns left out at the old end. */
  readonly numDropped: number;
}

/**
 * Drops the oldest exchanges until the prompt fits; the system prompt and the last message always stay.
 * @param turns the branch, oldest first, ending with the user's message
 * @param encode chat template and tokenizer
 * @param maxTokens what the prompt may take
 * @returns null when even the system prompt and the last message do not fit
 */
export function planPrompt(
  systemPrompt: string,
  turns: readonly PromptTurn[],
  encode: (messages: readonly ChatMessage[]) => number[],
  maxTokens: number,
): PromptPlan | null {
  const system: ChatMessage[] =
    systemPrompt === '' ? [] : [{ role: 'system', content: systemPrompt }];
  // An empty reply (cancelled before its first token) says nothing and would only teach the model to be silent.
  const said = turns.filter((turn, index) => turn.content !== '' || index === turns.length - 1);
  const whole = encode([...system, ...said]);
  if (whole.length <= maxTokens) return { tokenIds: whole, numDropped: 0 };

  // The template adds the same few tokens to each message, so lengths measured apart may be added up.
  const alone = encode([...system]).length;
  const costs = said.map((turn) => encode([...system, turn]).length - alone);
  let first = said.length - 1;
  let total = alone + (costs[first] ?? 0);
  while (first > 0 && total + (costs[first - 1] ?? 0) <= maxTokens)
    total += costs[(first -= 1)] ?? 0;
  // A reply without its question is no context: begin with a user's message.
  while (first < said.length - 1 && said[first]?.role === 'assistant') first += 1;
  const kept = encode([...system, ...said.slice(first)]);
  return kept.length <= maxTokens ? { tokenIds: kept, numDropped: first } : null;
}
