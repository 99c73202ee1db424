import fc from 'fast-check';
import type { SummarySource } from '../../../conversation/summary-prompt.ts';
import { summaryText } from '../../../conversation/summary-text.ts';

const count = (text: string): number => text.split(' ').filter((each) => each !== '').length;
const SOURCES: readonly SummarySource[] = [
  { role: 'user', text: 'My cat is called Zorro. We plan 10 days in Kyoto. Is April good?' },
  { role: 'assistant', text: 'I think April is the season of cherry blossoms in Kyoto.' },
];
const kept = (written: string, maxTokens = 100, sources = SOURCES): string =>
  summaryText(written, sources, count, maxTokens);
const SAID = 'The user said: “My cat is called Zorro.” The user said: “We plan 10 days in Kyoto.”';

describe('summaryText', () => {
  it('keeps sentences of the source’s words behind what the user said of themselves', () => {
    expect(kept('Kyoto in April is the season of cherry blossoms.')).toBe(
      `${SAID} Kyoto in April is the season of cherry blossoms.`,
    );
  });

  it.each([
    ['a name', 'The season of cherry blossoms is in Osaka.'],
    ['a number', 'We plan 12 days in Kyoto.'],
    ['most of its words', 'Thank you for sharing such inspiring thoughts!'],
    ['an end', 'Kyoto in April is the season of'],
    ['a summary’s form', 'User: We plan 10 days in Kyoto.'],
  ])('drops a sentence whose source lacks %s', (_what, written) => {
    expect(kept(written)).toBe(SAID);
  });

  it('hands quotes on to the summaries above', () => {
    const above = kept('Kyoto is the season.', 100, [{ role: 'summary', text: SAID }]);
    expect(above.startsWith(SAID)).toBe(true);
  });

  it('quotes the shortest where not all fit, and is empty where there is nothing to keep', () => {
    expect(kept('', 18)).toBe('The user said: “My cat is called Zorro.”');
    expect(kept('Nonsense.', 100, [{ role: 'user', text: 'What now?' }])).toBe('');
  });

  it('works in languages without spaces', () => {
    const sources = [{ role: 'user' as const, text: '我住在里斯本，喜欢喝茶。' }];
    expect(kept('喜欢喝茶。', 100, sources)).toBe('喜欢喝茶。');
    expect(kept('喜欢打篮球和游泳。', 100, sources)).toBe('');
  });

  it('never takes more than its tokens', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.array(fc.string()),
        fc.integer({ min: 1, max: 60 }),
        (written, texts, most) => {
          const sources = texts.map((text) => ({ role: 'user' as const, text: `I ${text}.` }));
          expect(count(summaryText(written, sources, count, most))).toBeLessThanOrEqual(most);
        },
      ),
    );
  });
});
