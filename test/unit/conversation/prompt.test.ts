import fc from 'fast-check';
import type { ChatMessage } from '../../../contracts/engine.ts';
import { planPrompt } from '../../../conversation/prompt.ts';
import type { PromptTurn } from '../../../conversation/prompt.ts';

/** One id per character, two for the role: a template and tokenizer whose lengths add up. */
const encode = (messages: readonly ChatMessage[]): number[] =>
  messages.flatMap(({ role, content }) => [
    role.charCodeAt(0),
    0,
    ...[...content].map((each) => each.charCodeAt(0)),
  ]);

describe('planPrompt', () => {
  it('takes everything when it fits', () => {
    const turns: PromptTurn[] = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c' },
    ];
    expect(planPrompt('s', turns, encode, 12)).toEqual({
      tokenIds: encode([{ role: 'system', content: 's' }, ...turns]),
      numDropped: 0,
    });
  });

  it('drops the oldest exchanges and never begins with a reply', () => {
    const turns: PromptTurn[] = [
      { role: 'user', content: 'aaaa' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c' },
    ];
    expect(planPrompt('', turns, encode, 7)).toEqual({
      tokenIds: encode([{ role: 'user', content: 'c' }]),
      numDropped: 2,
    });
  });

  it('leaves empty replies out', () => {
    const turns: PromptTurn[] = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: '' },
      { role: 'user', content: 'c' },
    ];
    expect(planPrompt('', turns, encode, 100)?.tokenIds).toHaveLength(6);
  });

  it('is null when even the last message does not fit', () => {
    expect(planPrompt('s', [{ role: 'user', content: 'long message' }], encode, 10)).toBeNull();
  });

  it('never exceeds the bound and always ends with the last message', () => {
    const turns = fc.array(
      fc.record({
        role: fc.constantFrom('user' as const, 'assistant' as const),
        content: fc.string(),
      }),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(fc.string(), turns, fc.integer({ min: 1, max: 120 }), (system, all, bound) => {
        const plan = planPrompt(system, all, encode, bound);
        if (plan === null) return;
        expect(plan.tokenIds.length).toBeLessThanOrEqual(bound);
        const last = encode(all.slice(-1));
        expect(plan.tokenIds.slice(-last.length)).toEqual(last);
      }),
    );
  });
});
