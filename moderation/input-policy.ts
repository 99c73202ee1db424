// The first input policy: size, and prompts made to drive a model into endless repetition (divergence). Pure; learnt
// classifiers come behind the same interface. Control markers need no rule: the tokenizer keeps them text.
import type { ModerationVerdict } from '../contracts/turn-facts.ts';

/** A judge of one user message. */
export interface InputModerator {
  moderate(text: string): Promise<ModerationVerdict> | ModerationVerdict;
}

/** Bumped with every change of a rule or a bound; stored with each verdict. */
const POLICY_VERSION = 'rules-1';

/** Longest message in UTF-16 units: some four times the tokens of the largest context served. */
export const MAX_CHARS = 128 * 1024;

// A message is divergent when one short unit makes up nearly all of a long message. Poems, tables and «say ha 20
// times» stay far below: the shortest run refused is 24 units.
const MIN_REPEATS = 24;
const MIN_SHARE = 0.8;
const MAX_UNIT_WORDS = 4;
const MIN_CHAR_RUN = 200;

/** Asks for repetition without an end. A number of times, even a large one, is an end. */
const ENDLESS =
  /\b(?:repeat|say|write|print|output|type)\b[^.!?\n]{0,120}\b(?:forever|endlessly|infinitely|indefinitely|without (?:ever )?stopping|and never stop|(?:an )?infinite(?:ly)? (?:number of )?times|over and over(?: again)? forever)\b/iu;

export class RuleModerator implements InputModerator {
  moderate(text: string): ModerationVerdict {
    const category = text.length > MAX_CHARS ? 'size' : isDivergent(text) ? 'divergence' : null;
    return {
      action: category === null ? 'allow' : 'block',
      category,
      policyVersion: POLICY_VERSION,
    };
  }
}

function isDivergent(text: string): boolean {
  if (ENDLESS.test(text) || hasCharacterRun(text)) return true;
  const words = text
    .toLowerCase()
    .split(/[\s,;]+/u)
    .filter((word) => word !== '');
  if (words.length < MIN_REPEATS) return false;
  for (let unit = 1; unit <= MAX_UNIT_WORDS; unit += 1) {
    const run = longestRun(words, unit);
    if (run / unit >= MIN_REPEATS && run / words.length >= MIN_SHARE) return true;
  }
  return false;
}

/** Words in the longest stretch where each word equals the one `unit` words before. */
function longestRun(words: readonly string[], unit: number): number {
  let longest = 0;
  let run = unit;
  for (let i = unit; i < words.length; i += 1) {
    run = words[i] === words[i - unit] ? run + 1 : unit;
    longest = Math.max(longest, run);
  }
  return longest;
}

/** One character, other than white space and rules in tables, many times in a row. */
function hasCharacterRun(text: string): boolean {
  return new RegExp(`([^\\s=\\-_*#.|+~])\\1{${MIN_CHAR_RUN - 1}}`, 'u').test(text);
}
