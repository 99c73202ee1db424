import fc from 'fast-check';
import { ChoiceTrie } from '../../../inference/choice-trie.ts';

const choices = fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }), {
  minLength: 1,
  maxLength: 6,
});

describe('ChoiceTrie', () => {
  it('allows after any beginning what some choice goes on with, and knows where one ends', () => {
    fc.assert(
      fc.property(choices, fc.array(fc.nat(3), { maxLength: 5 }), (all, output) => {
        const trie = new ChoiceTrie(all);
        const tokens = [9, 9, ...output];
        const followers = all.filter((choice) => output.every((id, at) => choice[at] === id));
        const next = new Set(
          followers.flatMap((choice) => choice.slice(output.length).slice(0, 1)),
        );
        const isEnd = followers.some(({ length }) => length === output.length);
        const found = trie.nextIds(tokens, 2, tokens.length);
        expect(new Set(found ?? [])).toEqual(next);
        expect(found === null).toBe(followers.length === 0);
        expect(trie.isChoice(tokens, 2, tokens.length)).toBe(isEnd);
        expect(trie.isComplete(tokens, 2)).toBe(isEnd && next.size === 0);
      }),
    );
  });
});
