// One prompt in the making: which turns and summaries it would have, and what that takes. Measures; decides nothing. Pure.
import type { ChatMessage } from '../contracts/engine.ts';
import type { FactId, TurnId } from '../contracts/ids.ts';
import type { PromptFact, PromptMessage, PromptTurn, SummaryNode } from './prompt-parts.ts';
import { systemMessage, turnMessage } from './render.ts';
import { placeFacts } from './shown-facts.ts';
import type { ChosenFacts } from './shown-facts.ts';
import type { WindowTurn } from './window.ts';

export interface PromptMaterial {
  readonly systemPrompt: string;
  /** What tells everything up to a turn of the branch, oldest first; empty where nothing does. */
  readonly summaries: readonly SummaryNode[];
  /** The branch behind the summaries, as far as it was read: oldest first, ending with the user's message. */
  readonly turns: readonly PromptTurn[];
  /** What was chosen for the branch's earlier turns. */
  readonly chosenFacts: readonly ChosenFacts[];
  /** What was chosen for this turn; null where memory is off. */
  readonly ownFacts: readonly PromptFact[] | null;
}

export interface PromptPlan {
  readonly messages: readonly PromptMessage[];
  readonly tokenIds: readonly number[];
  readonly leftOut: LeftOut;
}

/** What a reader of the prompt does not see. */
export interface LeftOut {
  /** Turns behind `after` (null: from the root on) and before `before` are neither shown nor told; null when none are. */
  readonly turns: { readonly after: TurnId | null; readonly before: TurnId } | null;
  /** Replies without a text. */
  readonly emptyTurnIds: readonly TurnId[];
  readonly summaryIds: readonly string[];
  /** Chosen for this turn, and there was no room. */
  readonly factIds: readonly FactId[];
}

/** Chat template and tokenizer. */
export type EncodePrompt = (messages: readonly ChatMessage[]) => readonly number[];

export class PromptDraft {
  readonly #material: PromptMaterial;
  readonly #said: readonly PromptTurn[];
  readonly #encode: EncodePrompt;

  /** @param said the turns that may be shown: the newest of the material's, without empty replies */
  constructor(material: PromptMaterial, said: readonly PromptTurn[], encode: EncodePrompt) {
    this.#material = material;
    this.#said = said;
    this.#encode = encode;
  }

  /** The prompt whose window begins with turn `first` of those that may be shown. */
  take(first: number, summaries: readonly SummaryNode[], hasFacts: boolean): PromptPlan {
    const { systemPrompt, chosenFacts, ownFacts } = this.#material;
    const window = this.#said.slice(first);
    const facts = placeFacts(window, chosenFacts, hasFacts ? ownFacts : null);
    const messages = [
      ...systemMessage(systemPrompt, summaries),
      ...window.map((turn) => turnMessage(turn, facts.get(turn.turnId) ?? [])),
    ];
    return {
      messages,
      tokenIds: this.#encode(messages.map(({ role, content }) => ({ role, content }))),
      leftOut: this.#leftOut(window, summaries, hasFacts),
    };
  }

  /** What each turn that may be shown takes alone, with all facts that may be shown with it. */
  costs(): WindowTurn[] {
    const { chosenFacts, ownFacts } = this.#material;
    // With a system message before it, so that no template adds one of its own.
    const before: ChatMessage = { role: 'system', content: '.' };
    const nothing = this.#encode([before]).length;
    return this.#said.map((turn, at) => {
      const facts = placeFacts(this.#said.slice(at, at + 2), chosenFacts, ownFacts);
      const { role, content } = turnMessage(turn, facts.get(turn.turnId) ?? []);
      const cost = this.#encode([before, { role, content }]).length - nothing;
      return { turnId: turn.turnId, role: turn.role, cost };
    });
  }

  /** The newest summaries that take no more than so many tokens. */
  newestSummaries(maxTokens: number): readonly SummaryNode[] {
    const { systemPrompt, summaries } = this.#material;
    const lengthOf = (nodes: readonly SummaryNode[]): number =>
      this.#encode(systemMessage(systemPrompt, nodes)).length;
    const nothing = lengthOf([]);
    const from = summaries.findIndex(
      (_, at) => lengthOf(summaries.slice(at)) - nothing <= maxTokens,
    );
    return from < 0 ? [] : summaries.slice(from);
  }

  #leftOut(
    window: readonly PromptTurn[],
    summaries: readonly SummaryNode[],
    hasFacts: boolean,
  ): LeftOut {
    const { turns, ownFacts, summaries: all } = this.#material;
    const before = window[0]?.turnId;
    const begin = turns.findIndex(({ turnId }) => turnId === before);
    const after = summaries.at(-1)?.lastTurnId ?? null;
    const isGap =
      (turns[0]?.parentTurnId ?? null) !== after ||
      turns.slice(0, begin).some(({ content }) => content !== '');
    const kept = new Set(summaries);
    return {
      turns: isGap && before !== undefined ? { after, before } : null,
      emptyTurnIds: turns
        .slice(begin, -1)
        .filter(({ content }) => content === '')
        .map(({ turnId }) => turnId),
      summaryIds: all.filter((each) => !kept.has(each)).map(({ nodeId }) => nodeId),
      factIds: hasFacts ? [] : (ownFacts ?? []).map(({ factId }) => factId),
    };
  }
}
