// Messages to token ids by the ChatML template. Templates are ours, never executed from a model file; contents are
// tokenised with control tokens off, so a marker typed by a user stays text.
import { AppError } from '../contracts/errors.ts';
import type { ChatMessage } from '../contracts/engine.ts';

export interface TemplateTokenizer {
  encode(text: string): Int32Array;
  controlTokenId(text: string): number | null;
}

/** What the model was trained with where a conversation has no system prompt. */
const DEFAULT_SYSTEM = 'You are a helpful AI assistant named SmolLM, trained by Hugging Face';

export class ChatMlTemplate {
  readonly #tokenizer: TemplateTokenizer;
  readonly #start: number;
  readonly #newline: readonly number[];
  /** Ends a message, and a reply. */
  readonly endId: number;

  /** @throws AppError INVALID_REQUEST when the vocabulary has no ChatML markers */
  constructor(tokenizer: TemplateTokenizer) {
    const [start, end] = ['<|im_start|>', '<|im_end|>'].map((marker) =>
      tokenizer.controlTokenId(marker),
    );
    if (start === null || start === undefined || end === null || end === undefined) {
      throw new AppError('INVALID_REQUEST', {
        message: 'the model’s vocabulary has no ChatML markers',
      });
    }
    this.#tokenizer = tokenizer;
    this.#start = start;
    this.endId = end;
    this.#newline = [...tokenizer.encode('\n')];
  }

  /** Ids of the messages, then the opening of the assistant's reply. */
  render(messages: readonly ChatMessage[]): number[] {
    const system: ChatMessage[] =
      messages[0]?.role === 'system' ? [] : [{ role: 'system', content: DEFAULT_SYSTEM }];
    const ids = [...system, ...messages].flatMap(({ role, content }) => [
      this.#start,
      ...this.#tokenizer.encode(`${role}\n${content}`),
      this.endId,
      ...this.#newline,
    ]);
    ids.push(this.#start, ...this.#tokenizer.encode('assistant\n'));
    return ids;
  }
}
