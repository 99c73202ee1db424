// Gemma's turns: `<bos>`, then `<start_of_turn>role⏎content<end_of_turn>⏎` for each message, the assistant called
// `model`. There is no system role: its text goes before the first message of the user. Source: the published template.
import type { ChatMessage } from '../../contracts/engine.ts';
import { controlIds } from './template.ts';
import type { ChatTemplate, TemplateTokenizer } from './template.ts';

export class GemmaTemplate implements ChatTemplate {
  readonly #tokenizer: TemplateTokenizer;
  readonly #beginId: number;
  readonly #startId: number;
  readonly #newline: readonly number[];
  readonly endId: number;

  private constructor(
    tokenizer: TemplateTokenizer,
    [beginId, startId, endId]: readonly [number, number, number],
  ) {
    this.#tokenizer = tokenizer;
    this.#beginId = beginId;
    this.#startId = startId;
    this.endId = endId;
    this.#newline = [...tokenizer.encode('\n')];
  }

  /** Null when the vocabulary has no such markers. */
  static for(tokenizer: TemplateTokenizer): GemmaTemplate | null {
    const ids = controlIds(tokenizer, '<bos>', '<start_of_turn>', '<end_of_turn>');
    return ids === null ? null : new GemmaTemplate(tokenizer, ids);
  }

  render(messages: readonly ChatMessage[]): number[] {
    const ids = [this.#beginId];
    let before = '';
    for (const { role, content } of messages) {
      if (role === 'system') {
        before += `${content.trim()}\n\n`;
        continue;
      }
      const isUser = role === 'user';
      const text = `${isUser ? before : ''}${content.trim()}`;
      if (isUser) before = '';
      ids.push(
        this.#startId,
        ...this.#tokenizer.encode(`${isUser ? 'user' : 'model'}\n${text}`),
        this.endId,
        ...this.#newline,
      );
    }
    // A system text that no user's message follows belongs to no turn; it counts where a prompt is only measured.
    if (before !== '') ids.push(...this.#tokenizer.encode(before));
    ids.push(this.#startId, ...this.#tokenizer.encode('model\n'));
    return ids;
  }
}
