// How long prompts and replies are: rows of the Azure conversation trace (read where it lies, never copied), or all alike.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

export interface TurnLengths {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** Both lengths of each row divided by `scale`, at least 1; together at most `maxTokens`. */
export function traceLengths(path: string, scale: number, maxTokens: number): TurnLengths[] {
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  return text
    .trim()
    .split('\n')
    .slice(1)
    .map((row) => {
      const [, context = NaN, generated = NaN] = row.split(',').map(Number);
      const outputTokens = bounded(generated / scale, maxTokens / 2);
      return { outputTokens, promptTokens: bounded(context / scale, maxTokens - outputTokens) };
    });
}

const bounded = (value: number, most: number): number =>
  Math.round(Math.min(most, Math.max(1, value)));

/** A message of about so many tokens, none like another's: common English words are a token each in most vocabularies. */
export function messageOf(index: number, tokens: number): string {
  const words = Array.from(
    { length: tokens },
    (_, at) => WORDS[(index * 31 + at * 7 + (at >> 3)) % WORDS.length],
  );
  return `${index} ${words.join(' ')}`;
}

const WORDS =
  'the sea is wide and old men go down to it in small ships when the wind is from the land they look for fish until night then come home with what they have to eat'.split(
    ' ',
  );
