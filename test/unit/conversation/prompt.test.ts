import fc from 'fast-check';
import { planPrompt } from '../../../conversation/prompt.ts';
import type { PromptPlan } from '../../../conversation/prompt-draft.ts';
import { newestWithin } from '../../../conversation/stored-cost.ts';
import {
  branchOf,
  encodeCharacters as encode,
  materialOf,
  turnIdOf,
} from '../../helpers/prompt-turns.ts';

const plan = (
  contents: readonly string[],
  maxTokens: number,
  systemPrompt = '',
): PromptPlan | null =>
  planPrompt(materialOf(branchOf(contents), { systemPrompt }), encode, maxTokens);
const shown = (each: PromptPlan | null): string[] =>
  (each?.messages ?? []).map(({ content }) => content);

/** user, assistant, …, user: some replies empty. */
const conversations = fc
  .array(fc.tuple(fc.string({ minLength: 1, maxLength: 20 }), fc.string({ maxLength: 20 })), {
    maxLength: 12,
  })
  .chain((exchanges) => fc.string({ minLength: 1 }).map((last) => [...exchanges.flat(), last]));

describe('planPrompt', () => {
  it('takes everything when it fits', () => {
    const turns = branchOf(['a', 'b', 'c']);
    const whole = planPrompt(materialOf(turns, { systemPrompt: 's' }), encode, 40);
    expect(whole?.tokenIds).toEqual(encode([{ role: 'system', content: 's' }, ...turns]));
    expect(whole?.leftOut).toEqual({ turns: null, emptyTurnIds: [], summaryIds: [], factIds: [] });
  });

  it('drops the oldest exchanges, says so, and never begins with a reply', () => {
    const cut = plan(['aaaa', 'b', 'c'], 7);
    expect(shown(cut)).toEqual(['c']);
    expect(cut?.leftOut.turns).toEqual({ after: null, before: turnIdOf(2) });
  });

  it('leaves empty replies out', () => {
    const cut = plan(['a', '', 'c'], 100);
    expect(shown(cut)).toEqual(['a', 'c']);
    expect(cut?.leftOut).toMatchObject({ turns: null, emptyTurnIds: [turnIdOf(1)] });
  });

  it('is null when even the last message does not fit, and when there is none', () => {
    expect(plan(['long message'], 10, 's')).toBeNull();
    expect(planPrompt(materialOf([]), encode, 10)).toBeNull();
    expect(plan(['a', 'b'], 100)).toBeNull();
  });

  it('never exceeds the bound, keeps the system prompt first and the message last', () => {
    fc.assert(
      fc.property(
        fc.string(),
        conversations,
        fc.integer({ min: 1, max: 200 }),
        (system, all, bound) => {
          const made = plan(all, bound, system);
          if (made === null) {
            const least = encode([
              ...(system === '' ? [] : [{ role: 'system' as const, content: system }]),
              { role: 'user', content: all.at(-1) ?? '' },
            ]);
            expect(least.length).toBeGreaterThan(bound);
            return;
          }
          expect(made.tokenIds.length).toBeLessThanOrEqual(bound);
          expect(shown(made).at(-1)).toBe(all.at(-1));
          if (system !== '') expect(shown(made)[0]).toBe(system);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('leaves nothing out that fits, and steps back by more than it must where not all does', () => {
    const contents = Array.from({ length: 21 }, (_, n) => 'x'.repeat(10 + n));
    const stored = contents.reduce((sum, content) => sum + content.length + 5, 0);
    expect(shown(plan(contents, stored))).toHaveLength(21);
    // All of it would fit by the template's two tokens a message; the window begins where it will stay for some turns.
    expect(shown(plan(contents, stored - 1)).length).toBeLessThan(20);
  });

  it('shows no fewer turns with more room', () => {
    fc.assert(
      fc.property(
        conversations,
        fc.integer({ min: 1, max: 150 }),
        fc.integer({ min: 0, max: 100 }),
        (all, bound, more) => {
          expect(shown(plan(all, bound + more)).length).toBeGreaterThanOrEqual(
            shown(plan(all, bound)).length,
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('gives the same tokens for the same rows, however many older ones were read beside them', () => {
    fc.assert(
      fc.property(
        conversations,
        fc.integer({ min: 1, max: 200 }),
        fc.nat(30),
        (all, bound, numOlder) => {
          const turns = branchOf(all);
          const least = newestWithin(turns, bound).turns.length;
          const read = turns.slice(-Math.min(turns.length, least + numOlder));
          const one = planPrompt(materialOf(read), encode, bound);
          const other = planPrompt(materialOf(turns), encode, bound);
          expect(one?.tokenIds).toEqual(other?.tokenIds);
          expect(one?.leftOut.turns).toEqual(other?.leftOut.turns);
        },
      ),
      { numRuns: 500 },
    );
  });
});
