// What is kept of what a model wrote as a summary. Small models make things up, and a summary would go on saying so for the
// rest of the conversation: sentences that name what the source does not are dropped. Beside them stand short statements of the
// user's own about themselves, word for word, which is what is asked for later most often. Pure.
import type { SummarySource } from './summary-prompt.ts';

/** A statement of the user's, as a summary quotes it; found again by the summaries above. */
const SAID = 'The user said: ';
/** Room for them, as a part of the whole. */
const SAID_SHARE = 1 / 2;
/** So much of a sentence's words must be its source's. */
const KNOWN_SHARE = 2 / 3;
/** English only: in other languages nothing is quoted. */
const FIRST_PERSON = /\b(I|I['’]m|my|we|our)\b/i;

const words = new Intl.Segmenter('en', { granularity: 'word' });
const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });
/** Articles, pronouns and the like, in scripts with spaces between words. */
const SMALL_WORD = /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]{1,3}$/u;

/**
 * @param written by the model; its last sentence may be cut
 * @param sources what it was asked to summarise
 * @param countTokens of a text
 * @returns at most `maxTokens`; empty when nothing of it can be trusted and nothing can be quoted
 */
export function summaryText(
  written: string,
  sources: readonly SummarySource[],
  countTokens: (text: string) => number,
  maxTokens: number,
): string {
  const said = shortestWithin(statements(sources), countTokens, maxTokens * SAID_SHARE);
  const known = new Set(sources.flatMap(({ text }) => wordsOf(text)));
  const kept = sentencesOf(written).filter((each) => isWhole(each) && isGrounded(each, known));
  const text: string[] = said.map((each) => `${SAID}“${each}”`);
  for (const each of kept) {
    if (countTokens([...text, each].join(' ')) > maxTokens) break;
    text.push(each);
  }
  return text.join(' ');
}

/** Of the user about themselves, oldest first, each once. */
function statements(sources: readonly SummarySource[]): string[] {
  const found = sources.flatMap(({ role, text }) => {
    if (role === 'assistant') return [];
    if (role === 'summary')
      return [...text.matchAll(/The user said: “([^”]*)”/gu)].map(([, each]) => each ?? '');
    return sentencesOf(text).filter((each) => FIRST_PERSON.test(each) && /[^?\s]$/u.test(each));
  });
  return [...new Set(found.map((each) => each.replaceAll(/[“”]/gu, '"')))];
}

/** The shortest that fit together, in their order: they say most with least. */
function shortestWithin(
  texts: readonly string[],
  countTokens: (text: string) => number,
  maxTokens: number,
): string[] {
  const taken = new Set<string>();
  let numTokens = 0;
  for (const each of texts.toSorted((one, other) => one.length - other.length)) {
    numTokens += countTokens(`${SAID}“${each}” `);
    if (numTokens > maxTokens) break;
    taken.add(each);
  }
  return texts.filter((each) => taken.has(each));
}

/** A model that was cut in mid-sentence has not said it; one that plays the conversation on has summarised nothing. */
function isWhole(sentence: string): boolean {
  return /[.!。！](["”’)]*)$/u.test(sentence) && !/^(user|assistant):/i.test(sentence);
}

function isGrounded(sentence: string, known: ReadonlySet<string>): boolean {
  const parts = [...words.segment(sentence)].filter(({ isWordLike }) => isWordLike);
  const isNamed = ({ segment }: Intl.SegmentData, at: number): boolean =>
    /\p{N}/u.test(segment) || (at > 0 && /^\p{Lu}/u.test(segment) && segment !== 'I');
  if (parts.some((part, at) => isNamed(part, at) && !known.has(part.segment.toLowerCase())))
    return false;
  const content = parts.filter(({ segment }) => !SMALL_WORD.test(segment));
  const numKnown = content.filter(({ segment }) => known.has(segment.toLowerCase())).length;
  return numKnown > 0 && numKnown >= content.length * KNOWN_SHARE;
}

function sentencesOf(text: string): string[] {
  return [...sentences.segment(text)]
    .map(({ segment }) => segment.trim())
    .filter((each) => each !== '');
}

function wordsOf(text: string): string[] {
  return [...words.segment(text)]
    .filter(({ isWordLike }) => isWordLike)
    .map(({ segment }) => segment.toLowerCase());
}
