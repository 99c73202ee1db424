// Branches of made turns for tests of prompts: ids that look like UUIDv7 and follow from a number, one token a character.
import { createHash } from 'node:crypto';
import type { ChatMessage } from '../../contracts/engine.ts';
import type { TurnId } from '../../contracts/ids.ts';
import type { PromptMaterial } from '../../conversation/prompt-draft.ts';
import type { PromptTurn } from '../../conversation/prompt-parts.ts';

/** One id per character, two for the role: a template and tokenizer whose lengths add up. */
export const encodeCharacters = (messages: readonly ChatMessage[]): number[] =>
  messages.flatMap(({ role, content }) => [
    role.charCodeAt(0),
    0,
    ...[...content].map((each) => each.charCodeAt(0)),
  ]);

/** Ordered by `n`, its last digits as good as random. */
export function turnIdOf(n: number): TurnId {
  const digits = createHash('sha256').update(String(n)).digest('hex').slice(0, 12);
  return `${n.toString(16).padStart(8, '0')}-0000-7000-8000-${digits}` as TurnId;
}

/** A branch from the root on: user, assistant, user, … */
export function branchOf(contents: readonly string[]): PromptTurn[] {
  return contents.map((content, n) => ({
    turnId: turnIdOf(n),
    parentTurnId: n === 0 ? null : turnIdOf(n - 1),
    role: n % 2 === 0 ? 'user' : 'assistant',
    content,
    tokenCount: content.length,
  }));
}

export function materialOf(
  turns: readonly PromptTurn[],
  others: Partial<PromptMaterial> = {},
): PromptMaterial {
  return { systemPrompt: '', summaries: [], chosenFacts: [], ownFacts: null, ...others, turns };
}
