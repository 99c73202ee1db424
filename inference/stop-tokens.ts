// The ids that end a reply. Models were trained to end a message with its marker and a text with another; either ends it.
import type { ChatTemplate, TemplateTokenizer } from './templates/template.ts';

/** @param eosTokenId what the model file calls its end, null when it names none */
export function stopTokenIdsOf(
  { endId }: ChatTemplate,
  eosTokenId: number | null,
  tokenizer: TemplateTokenizer,
): number[] {
  const ends = ['<|endoftext|>', '<|end_of_text|>'].map((text) => tokenizer.controlTokenId(text));
  return [...new Set([endId, eosTokenId, ...ends].filter((id) => typeof id === 'number'))];
}
