// A pool's prompts without its model: the vocabulary of its file, and the template or the code of messages around it.
import type { PromptEncoder } from '../contracts/prompt-encoder.ts';
import { chatTemplateOf } from './chat-template.ts';
import { MessageCodec } from './remote/message-codec.ts';
import type { Vocabulary } from './remote/vocabulary.ts';

/** A piece takes about 10 ms: so long nobody else's request waits for one long message. */
const PIECE_LENGTH = 16 * 1024;

/**
 * @param isByMessages the pool's server takes messages, and makes its own prompt of them
 * @throws AppError INVALID_REQUEST when the vocabulary has no markers of messages
 */
export function createPromptEncoder(vocabulary: Vocabulary, isByMessages: boolean): PromptEncoder {
  const codec = isByMessages ? new MessageCodec(vocabulary) : null;
  const template = isByMessages ? null : chatTemplateOf(vocabulary.family, vocabulary);
  return {
    encodePrompt: (messages) => codec?.encode(messages) ?? template?.render(messages) ?? [],
    countTokens: async (text) => {
      let numTokens = 0;
      for (let from = 0; from < text.length;) {
        const to = endOfPiece(text, from);
        numTokens += vocabulary.encode(text.slice(from, to)).length;
        from = to;
        if (from < text.length) await new Promise((resolve) => setImmediate(resolve));
      }
      return numTokens;
    },
  };
}

/** Before a space, where vocabularies cut anyway; in a text without, wherever the piece is full. */
function endOfPiece(text: string, from: number): number {
  const to = from + PIECE_LENGTH;
  if (to >= text.length) return text.length;
  const space = text.lastIndexOf(' ', to);
  return space > from ? space : to;
}
