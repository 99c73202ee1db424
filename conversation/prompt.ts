// The prompt of a turn from rows: system prompt → summaries of what is older → the window of recent turns, each with the
// facts it was first asked with → the user's message. Pure: the same rows and tokenizer give the same token ids, however
// many older rows were read beside them.
import { PromptDraft } from './prompt-draft.ts';
import type { EncodePrompt, PromptMaterial, PromptPlan } from './prompt-draft.ts';
import type { PromptTurn } from './prompt-parts.ts';
import { newestWithin } from './stored-cost.ts';
import { windowStart } from './window.ts';

/** The part of the prompt that summaries may take where not everything fits. */
const SUMMARY_SHARE = 1 / 4;

/**
 * The system prompt and the last message always stay; older turns, then facts, then summaries give way.
 * @param maxTokens what the prompt may take
 * @returns null when even the system prompt and the last message do not fit, or there is no message
 */
export function planPrompt(
  material: PromptMaterial,
  encode: EncodePrompt,
  maxTokens: number,
): PromptPlan | null {
  const last = material.turns.at(-1);
  if (last?.role !== 'user') return null;
  const { turns: near, isCut } = newestWithin(material.turns, maxTokens);
  // An empty reply (cancelled before its first token) says nothing and would only teach the model to be silent.
  const said = near.filter((turn) => turn.content !== '' || turn === last);
  const draft = new PromptDraft(material, said, encode);
  if (!isCut) {
    const whole = draft.take(userFrom(said, 0), material.summaries, true);
    if (whole.tokenIds.length <= maxTokens) return whole;
  }
  return fitted(draft, said, maxTokens);
}

/** As much as fits; null when the least does not. */
function fitted(
  draft: PromptDraft,
  said: readonly PromptTurn[],
  maxTokens: number,
): PromptPlan | null {
  const last = said.length - 1;
  const least = draft.take(last, [], false);
  if (least.tokenIds.length > maxTokens) return null;
  const summaries = draft.newestSummaries(Math.floor(maxTokens * SUMMARY_SHARE));
  const costs = draft.costs();
  const base = draft.take(last, summaries, true).tokenIds.length;
  const start = windowStart(costs, maxTokens - base + (costs[last]?.cost ?? 0));
  // Lengths that were measured apart add up but for the odd token where a template joins them.
  for (let first = start; first <= last; first = userFrom(said, first + 1)) {
    const plan = draft.take(first, summaries, true);
    if (plan.tokenIds.length <= maxTokens) return plan;
  }
  const bare = draft.take(last, summaries, false);
  return bare.tokenIds.length <= maxTokens ? bare : least;
}

/** The first user's turn from `from` on: a reply without its question is no context. */
function userFrom(turns: readonly PromptTurn[], from: number): number {
  const found = turns.findIndex(({ role }, at) => at >= from && role === 'user');
  return found < 0 ? turns.length : found;
}
