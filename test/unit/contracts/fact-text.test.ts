import fc from 'fast-check';
import {
  embeddedText,
  factHash,
  normalisedText,
  recallQuery,
} from '../../../contracts/fact-text.ts';
import type { UserId } from '../../../contracts/ids.ts';

const ADA = 'ada' as UserId;

describe('a fact’s hash', () => {
  it('is equal for texts that differ in case, space and punctuation, and for nothing else of anybody else', () => {
    expect(factHash(ADA, 'I  like Tea!')).toEqual(factHash(ADA, 'i like tea'));
    expect(factHash(ADA, 'I like C++')).not.toEqual(factHash(ADA, 'I like C'));
    expect(factHash(ADA, 'I like tea')).not.toEqual(factHash('bob' as UserId, 'I like tea'));
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(normalisedText(normalisedText(text))).toBe(normalisedText(text));
      }),
    );
  });
});

describe('what is embedded', () => {
  it('of a fact is what tells it from others', () => {
    expect(embeddedText('The user lives in Oslo.')).toBe('lives in Oslo.');
    expect(embeddedText("The user's name is Ada.")).toBe('name is Ada.');
    expect(embeddedText("I'm a baker")).toBe('a baker');
    expect(embeddedText('My cat is called Miso.')).toBe('cat is called Miso.');
  });

  it('of a message is the message, or few of its words', () => {
    expect(recallQuery('What should I cook tonight?')).toBe('What should I cook tonight?');
    expect(recallQuery('Can you please tell me what I should cook for my friends tonight?')).toBe(
      'cook friends tonight',
    );
    expect(recallQuery('what is it that you would do about it now')).not.toBe('');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 2000 }), (text) => {
        const query = recallQuery(text);
        expect(query.length).toBeLessThanOrEqual(500);
        if (/\p{L}/u.test(text.slice(0, 400))) expect(query.trim()).not.toBe('');
      }),
    );
  });
});
