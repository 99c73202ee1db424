import type { FactId } from '../../../contracts/ids.ts';
import { sampleTurnId } from '../../../contracts/samples.ts';
import { planPrompt } from '../../../conversation/prompt.ts';
import type { PromptFact } from '../../../conversation/prompt-parts.ts';
import { placeFacts } from '../../../conversation/shown-facts.ts';
import type { ChosenFacts } from '../../../conversation/shown-facts.ts';
import { branchOf, encodeCharacters, materialOf, turnIdOf } from '../../helpers/prompt-turns.ts';

const fact = (name: string): PromptFact => ({
  factId: name as FactId,
  text: `likes ${name}`,
  day: '2026-11-30',
});
const chosen = (reply: number, names: readonly string[], numSamples = 1): ChosenFacts => ({
  turnId: turnIdOf(reply),
  numSamples,
  facts: names.map(fact),
});
const names = (placed: ReturnType<typeof placeFacts>, n: number): string[] =>
  (placed.get(turnIdOf(n)) ?? []).map(({ factId }) => factId);

const TURNS = branchOf(['a', 'b', 'c', 'd', 'e']);

describe('placeFacts', () => {
  it('shows each fact once, with the first message that it was chosen for', () => {
    const placed = placeFacts(
      TURNS,
      [chosen(1, ['tea']), chosen(3, ['tea', 'cats'])],
      [fact('cats'), fact('rain')],
    );
    expect([names(placed, 0), names(placed, 2), names(placed, 4)]).toEqual([
      ['tea'],
      ['cats'],
      ['rain'],
    ]);
  });

  it('shows nothing of what memory knows once it is off', () => {
    expect(placeFacts(TURNS, [chosen(1, ['tea'])], null).size).toBe(0);
  });

  it('knows the request of any of a turn’s replies', () => {
    const second = { ...TURNS[1], turnId: sampleTurnId(turnIdOf(1), 1) } as (typeof TURNS)[number];
    const turns = TURNS.map((each, at) => (at === 1 ? second : each));
    expect(names(placeFacts(turns, [chosen(1, ['tea'], 2)], []), 0)).toEqual(['tea']);
    expect(names(placeFacts(turns, [chosen(1, ['tea'], 1)], []), 0)).toEqual([]);
  });

  it('lets a prompt begin with the whole of the one before, the reply’s turn included', () => {
    const [before, after] = [TURNS.slice(0, 3), TURNS];
    const one = planPrompt(
      materialOf(before, { chosenFacts: [chosen(1, ['tea'])], ownFacts: [fact('cats')] }),
      encodeCharacters,
      1000,
    );
    const other = planPrompt(
      materialOf(after, {
        chosenFacts: [chosen(1, ['tea']), chosen(3, ['cats'])],
        ownFacts: [fact('rain')],
      }),
      encodeCharacters,
      1000,
    );
    expect(other?.tokenIds.slice(0, one?.tokenIds.length)).toEqual(one?.tokenIds);
  });

  it('makes room for the last message by leaving facts out, and says so', () => {
    const bare = encodeCharacters([{ role: 'user', content: 'e' }]).length;
    const made = planPrompt(
      materialOf(TURNS, { ownFacts: [fact('rain')] }),
      encodeCharacters,
      bare + 20,
    );
    expect(made?.leftOut.factIds).toEqual(['rain']);
    expect(made?.messages.at(-1)?.content).toBe('e');
  });
});
