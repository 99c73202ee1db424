// A tokenizer for tests of templates: characters are their codes; markers have ids of their own, which no text gives.
import type { TemplateTokenizer } from '../../inference/templates/template.ts';

const FIRST_MARKER = 1_200_000;

export interface MarkerTokenizer extends TemplateTokenizer {
  /** Text of ids, each marker as the character it was given. */
  read(ids: readonly number[]): string;
}

/** @param markers a marker's name by the one character that stands for it in `read` */
export function markerTokenizer(markers: Readonly<Record<string, string>>): MarkerTokenizer {
  const names = Object.values(markers);
  return {
    encode: (text) => Int32Array.from(text, (character) => character.codePointAt(0) ?? 0),
    controlTokenId: (text) => (names.includes(text) ? FIRST_MARKER + names.indexOf(text) : null),
    read: (ids) =>
      ids.map((id) => Object.keys(markers)[id - FIRST_MARKER] ?? String.fromCodePoint(id)).join(''),
  };
}
