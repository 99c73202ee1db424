// ChatML: `<|im_start|>role⏎content<|im_end|>⏎` for each message. SmolLM and the qwen families use it.
import type { ChatMessage } from '../../contracts/engine.ts';
import { controlIds } from './template.ts';
import type { ChatTemplate, TemplateTokenizer } from './template.ts';

export interface ChatMlHabits {
  /** What the model was trained with where a conversation has no system prompt; null = nothing. */
  readonly defaultSystem: string | null;
  /** Earlier replies are shown without what stands before `</think>`. */
  readonly dropsThoughts: boolean;
}

export class ChatMlTemplate implements ChatTemplate {
  readonly #tokenizer: TemplateTokenizer;
  readonly #habits: ChatMlHabits;
  readonly #startId: number;
  readonly #newline: readonly number[];
  readonly endId: number;

  private constructor(
    tokenizer: TemplateTokenizer,
    habits: ChatMlHabits,
    [startId, endId]: readonly [number, number],
  ) {
    this.#tokenizer = tokenizer;
    this.#habits = habits;
    this.#startId = startId;
    this.endId = endId;
    this.#newline = [...tokenizer.encode('\n')];
  }

  /** Null when the vocabulary has no such markers. */
  static for(tokenizer: TemplateTokenizer, habits: ChatMlHabits): ChatMlTemplate | null {
    const ids = controlIds(tokenizer, '<|im_start|>', '<|im_end|>');
    return ids === null ? null : new ChatMlTemplate(tokenizer, habits, ids);
  }

  render(messages: readonly ChatMessage[]): number[] {
    const { defaultSystem } = this.#habits;
    const needsSystem = messages[0]?.role !== 'system' && defaultSystem !== null;
    const system: ChatMessage[] = needsSystem ? [{ role: 'system', content: defaultSystem }] : [];
    const ids = [...system, ...messages].flatMap((message) => [
      this.#startId,
      ...this.#tokenizer.encode(`${message.role}\n${this.#shown(message)}`),
      this.endId,
      ...this.#newline,
    ]);
    ids.push(this.#startId, ...this.#tokenizer.encode('assistant\n'));
    return ids;
  }

  #shown({ role, content }: ChatMessage): string {
    const end = content.lastIndexOf(END_OF_THOUGHTS);
    if (role !== 'assistant' || !this.#habits.dropsThoughts || end < 0) return content;
    return content.slice(end + END_OF_THOUGHTS.length).replace(/^\n+/u, '');
  }
}

const END_OF_THOUGHTS = '</think>';
