// Forms of a fact's text, and of the message that facts are looked up for: what makes two facts equal, and what is embedded of
// each. Pure; everyone who embeds or compares uses these, so that vectors of one store can be compared.
import { createHash } from 'node:crypto';
import type { UserId } from './ids.ts';

/** Longest text of a fact. */
export const MAX_FACT_CHARS = 4000;

/** Equal for texts that differ in case, spacing or punctuation only. */
export function normalisedText(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{S}]+/gu, ' ')
    .trim();
}

/** Of the normalised text, with the user's id before it: the same fact of two users has two hashes. SHA-256. */
export function factHash(userId: UserId, text: string): Buffer {
  return createHash('sha256')
    .update(`${userId}\n${normalisedText(text)}`)
    .digest();
}

/** What all facts begin with tells none from another, and makes all of them seem alike. */
export function embeddedText(text: string): string {
  const rest = text.replace(
    /^(?:the user(?:['’]s)?|i(?:['’]m| am)?|my)\s+(?:(?:is|has|have)\s+)?/iu,
    '',
  );
  return (rest === '' ? text : rest).slice(0, MAX_EMBEDDED_CHARS);
}

/** MiniLM was trained on sentences: more than this of a fact or a message says little that the beginning did not. */
const MAX_EMBEDDED_CHARS = 400;
/** A message of so few words is embedded as it stands; of a longer one its content words are, so many at most. */
const MAX_PLAIN_WORDS = 5;
const MAX_QUERY_WORDS = 8;
/** Characters of a message that are looked at, half at either end: an instruction stands before or behind its material. */
const LOOKED_AT = 800;

/**
 * What of a message facts are looked up by. An embedder's time grows with the words, and a turn waits for it; without
 * function words a sentence keeps its place among the others (docs/memory.md has the figures).
 */
export function recallQuery(message: string): string {
  const looked =
    message.length <= LOOKED_AT
      ? message
      : `${message.slice(0, LOOKED_AT / 2)} ${message.slice(-LOOKED_AT / 2)}`;
  const words = looked.match(/[\p{L}\p{N}][\p{L}\p{N}'’+#.-]*/gu) ?? [];
  if (words.length <= MAX_PLAIN_WORDS) return looked.slice(0, MAX_EMBEDDED_CHARS);
  const content = words.filter((word) => !FUNCTION_WORDS.has(word.toLowerCase()));
  const kept = content.length === 0 ? words : content;
  const half = MAX_QUERY_WORDS / 2;
  const chosen =
    kept.length <= MAX_QUERY_WORDS ? kept : [...kept.slice(0, half), ...kept.slice(-half)];
  return chosen.map((word) => word.slice(0, 40)).join(' ');
}

const FUNCTION_WORDS: ReadonlySet<string> = new Set(
  `a about all also am an and any are as at be been being but by can could did do does doing for from had has have having
  help here how i i'd i'll i'm i've if in into is it it's its just let like me more much my need no not now of on or our out
  please should show so some something tell than thank thanks that the their them then there these they this those to too up us
  very want was we were what when where which who why will with would you your`.split(/\s+/u),
);
