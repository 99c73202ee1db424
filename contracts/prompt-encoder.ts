// Text to token ids as a pool's model does it, for those who have no model: a gateway counts what it is sent, and shows prompts.
import type { ChatMessage } from './engine.ts';

export interface PromptEncoder {
  /** As ServedModel's: the same ids. */
  encodePrompt(messages: readonly ChatMessage[]): number[];
  /** Tokens of a text alone. Of a long one in pieces, with others' work between them; then off by a token or two. */
  countTokens(text: string): Promise<number>;
}

/** Null for a pool whose vocabulary this process does not have. */
export type PromptEncoderOf = (pool: string) => PromptEncoder | null;
