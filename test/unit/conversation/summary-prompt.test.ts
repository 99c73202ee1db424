import fc from 'fast-check';
import { summaryPrompt } from '../../../conversation/summary-prompt.ts';
import { encodeCharacters } from '../../helpers/prompt-turns.ts';

const textOf = (ids: readonly number[] | null): string =>
  String.fromCharCode(...(ids ?? []).slice(2));

describe('summaryPrompt', () => {
  it('says who said what, leaves out what is empty, and asks for a summary', () => {
    const ids = summaryPrompt(
      [
        { role: 'user', text: 'I am Ada.' },
        { role: 'assistant', text: 'Hello Ada.' },
        { role: 'user', text: '' },
      ],
      encodeCharacters,
      1000,
    );
    expect(textOf(ids)).toMatch(
      /^User: I am Ada\.\nAssistant: Hello Ada\.\n\nSummarise this conversation/,
    );
  });

  it('asks otherwise for summaries of summaries', () => {
    const ids = summaryPrompt([{ role: 'summary', text: 'They met.' }], encodeCharacters, 1000);
    expect(textOf(ids)).toMatch(/^- They met\.\n\nPut these notes/);
  });

  it('cuts long texts until it fits, and only those', () => {
    const texts = fc.array(fc.string({ maxLength: 3000 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(texts, fc.integer({ min: 320, max: 4000 }), (all, maxTokens) => {
        const ids = summaryPrompt(
          all.map((text) => ({ role: 'user', text })),
          encodeCharacters,
          maxTokens,
        );
        expect(ids?.length).toBeLessThanOrEqual(maxTokens);
      }),
    );
    const short = summaryPrompt(
      [
        { role: 'user', text: 'short' },
        { role: 'assistant', text: 'x'.repeat(900) },
      ],
      encodeCharacters,
      400,
    );
    expect(textOf(short)).toContain('User: short\n');
  });

  it('is null when there is no room for anything', () => {
    expect(summaryPrompt([{ role: 'user', text: 'hello' }], encodeCharacters, 20)).toBeNull();
  });
});
