import {
  costWords,
  countdownWords,
  durationWords,
  finishWords,
  usageWords,
} from '../../../web/src/words.ts';
import { USAGE } from './turns.ts';

describe('words', () => {
  it('says nothing of an answer that ended by itself', () => {
    expect([finishWords('stop', null), finishWords(null, null)]).toEqual([null, null]);
  });

  it('says in words why an answer ended early', () => {
    for (const reason of ['cancelled', 'length', 'content_filter', 'error'] as const)
      expect(finishWords(reason, null)).toMatch(/^[A-Z].*\.$/);
  });

  it('shows the sentence that came with an error, or the one its code stands for, never a bare code', () => {
    expect(finishWords('error', 'It broke')).toBe('It broke. You can try again.');
    expect(finishWords('error', 'generation_timeout')).toBe(
      'The model took too long. You can try again.',
    );
    expect(finishWords('error', 'fenced_off')).toBe('Something went wrong. You can try again.');
  });

  it.each([
    [0, '$0'],
    [0.0000031, '$0.0000031'],
    [0.00417, '$0.0042'],
    [0.25, '$0.25'],
    [12.345, '$12.35'],
  ])('writes %d dollars as %s', (usd, words) => {
    expect(costWords(usd)).toBe(words);
  });

  it.each([
    [812.4, '812 ms'],
    [999.6, '1.0 s'],
    [2449, '2.4 s'],
  ])('writes %d ms as %s', (ms, words) => {
    expect(durationWords(ms)).toBe(words);
  });

  it.each([
    [-50, '1 s'],
    [2001, '3 s'],
    [65_000, '1 min 5 s'],
  ])('counts %d ms down as %s', (ms, words) => {
    expect(countdownWords(ms)).toBe(words);
  });

  it('accounts for the tokens of an answer', () => {
    expect(usageWords({ ...USAGE, completion_tokens: 1 }).short).toBe('1 token');
    expect(usageWords({ ...USAGE, completion_tokens: 1234 }).short).toBe('1,234 tokens');
    expect(usageWords(USAGE).long).toBe('Prompt 10 tokens (4 cached), answer 2 tokens, $0.0010');
  });
});
