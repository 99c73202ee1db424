// Which facts go with which message. A fact is shown once, with the first message in the window that it was chosen for, and
// stays there while later turns are asked: so a prompt begins with the whole of the one before. Pure.
import type { FactId, TurnId } from '../contracts/ids.ts';
import { turnIdsOfSample } from '../contracts/samples.ts';
import type { PromptFact, PromptTurn } from './prompt-parts.ts';

/** What was chosen for one accepted turn, best first; facts that were removed since are absent. */
export interface ChosenFacts {
  /** The turn's first reply. */
  readonly turnId: TurnId;
  readonly numSamples: number;
  readonly facts: readonly PromptFact[];
}

/**
 * @param window the turns that are shown, oldest first, ending with the user's message
 * @param own what was chosen for the turn that is asked now; null: memory is off, and nothing that it knows is shown
 */
export function placeFacts(
  window: readonly PromptTurn[],
  chosen: readonly ChosenFacts[],
  own: readonly PromptFact[] | null,
): ReadonlyMap<TurnId, readonly PromptFact[]> {
  const placed = new Map<TurnId, readonly PromptFact[]>();
  if (own === null) return placed;
  const byRequest = new Map(chosen.map((each) => [each.turnId, each]));
  const shown = new Set<FactId>();
  for (const [at, turn] of window.entries()) {
    if (turn.role !== 'user') continue;
    const reply = window[at + 1];
    const isLast = at === window.length - 1;
    const facts = isLast ? own : reply === undefined ? [] : factsOfReply(byRequest, reply.turnId);
    const fresh = facts.filter(({ factId }) => !shown.has(factId));
    for (const { factId } of fresh) shown.add(factId);
    if (fresh.length > 0) placed.set(turn.turnId, fresh);
  }
  return placed;
}

/** The request that made a reply is named after the first of its replies. */
function factsOfReply(
  byRequest: ReadonlyMap<TurnId, ChosenFacts>,
  replyId: TurnId,
): readonly PromptFact[] {
  const possible = turnIdsOfSample(replyId);
  const found = possible
    .map((id, index) => ({ request: byRequest.get(id), index }))
    .find(({ request, index }) => request !== undefined && index < request.numSamples);
  return found?.request?.facts ?? [];
}
