// What a chat template is. Templates are ours, never executed from a model file; contents are tokenised with control
// tokens off, so a marker typed by a user stays text.
import type { ChatMessage } from '../../contracts/engine.ts';

export interface TemplateTokenizer {
  /** Control tokens never among the ids. */
  encode(text: string): Int32Array;
  controlTokenId(text: string): number | null;
}

export interface ChatTemplate {
  /** Ends a message, and a reply. */
  readonly endId: number;
  /** Ids of the messages, then the opening of the assistant's reply. */
  render(messages: readonly ChatMessage[]): number[];
}

/** Ids of control tokens in order; null when the vocabulary lacks one of them. */
export function controlIds<Names extends readonly string[]>(
  tokenizer: TemplateTokenizer,
  ...names: Names
): { readonly [Index in keyof Names]: number } | null {
  const ids = names.map((name) => tokenizer.controlTokenId(name));
  return ids.includes(null) ? null : (ids as { readonly [Index in keyof Names]: number });
}
