// What a sentence in the first person says of its speaker that will still be true next month, in canonical words. Pure.
import { FACT_RULES } from './fact-rules.ts';

/** A fact as the rules see it. */
export interface FactCandidate {
  /** `The user …`, without a full stop's worth of doubt: one sentence. */
  readonly text: string;
  /** Of what there can be one value at a time, so that a newer one takes the older one's place; null otherwise. */
  readonly topic: string | null;
  /** What the user wrote, for a judge to look at. */
  readonly sentence: string;
}

/** Openers that say nothing. */
const LEAD =
  /^(?:(?:hi|hello|hey|well|so|ok|okay|oh|anyway|btw|by the way|fyi|just so you know|for context|for your information|as you know|note that|please (?:note|remember)(?: that)?|remember(?: that)?|(?:please )?keep in mind(?: that)?|don't forget(?: that)?|also|and|but|actually|honestly|personally|in fact|you should know(?: that)?|since|because|as)\b[\s,:!-]*)+/iu;
/** Two statements in one sentence. */
const JOINTS =
  /,?\s+(?:and|but)\s+(?=(?:i|i'm|my|we|need|want|would|still|am|don't|can't|cannot|was|were|looking)\b)|,\s+(?=(?:i|i'm|my)\b)|\s+-+\s+|,?\s+(?:so|because|since)\s+/iu;
const MAX_VALUE_CHARS = 120;

/** The facts that one sentence states, none as a rule. */
export function candidatesIn(sentence: string): FactCandidate[] {
  return sentence
    .replace(LEAD, '')
    .split(JOINTS)
    .flatMap((clause) => {
      const candidate = candidateOf(clause.replace(LEAD, '').trim());
      return candidate === null ? [] : [{ ...candidate, sentence }];
    });
}

function candidateOf(clause: string): Omit<FactCandidate, 'sentence'> | null {
  for (const { pattern, text, topic, except } of FACT_RULES) {
    const match = pattern.exec(clause);
    if (match === null) continue;
    const values = match.slice(1).map((value) => tidy(value ?? ''));
    const [value = ''] = values;
    if (except?.test(value) === true || values.some((each) => each.length > MAX_VALUE_CHARS))
      continue;
    if (value === '' || PASSING_END.test(clause)) return null;
    const filled = text.replace(/\$(\d)/gu, (_, at: string) => values[Number(at) - 1] ?? '');
    return { text: filled.replace(/\s+/gu, ' ').replace(/\s+\./u, '.'), topic: topic ?? null };
  }
  return null;
}

const PASSING_END =
  /\b(?:today|tonight|right now|at the moment|this (?:morning|afternoon|evening|week|weekend)|for now|lol|in (?:this|the) (?:game|story|dream|book))$/iu;

/** The speaker becomes the third person; what only trails is dropped. */
function tidy(value: string): string {
  return value
    .replace(
      /[\s,:]+(?:too|as well|though|actually|btw|by the way|please|thanks|thank you|lol)?$/iu,
      '',
    )
    .replace(
      /,?\s+(?:last|this) (?:year|month|week|summer|winter|spring|autumn|fall)$|,?\s+(?:\w+ )?\w+ ago$|,?\s+(?:since|in) (?:19|20)\d\d$/iu,
      '',
    )
    .replace(/\bmyself\b/giu, 'themselves')
    .replace(/\bmine\b/giu, 'theirs')
    .replace(/\bmy\b/giu, 'their')
    .replace(/\bme\b/giu, 'them')
    .replace(/\bi am\b|\bi'm\b/giu, 'they are')
    .replace(/\bi've\b/giu, 'they have')
    .replace(/\bi\b/giu, 'they')
    .trim();
}
