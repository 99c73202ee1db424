// Llama 3: `<|begin_of_text|>`, then `<|start_header_id|>role<|end_header_id|>⏎⏎content<|eot_id|>` for each message.
// The dates that later releases write into the system prompt are left out: a prompt depends on its messages alone.
import type { ChatMessage } from '../../contracts/engine.ts';
import { controlIds } from './template.ts';
import type { ChatTemplate, TemplateTokenizer } from './template.ts';

export class Llama3Template implements ChatTemplate {
  readonly #tokenizer: TemplateTokenizer;
  readonly #beginId: number;
  readonly #header: readonly [number, number];
  readonly endId: number;

  private constructor(
    tokenizer: TemplateTokenizer,
    [beginId, startId, closeId, endId]: readonly [number, number, number, number],
  ) {
    this.#tokenizer = tokenizer;
    this.#beginId = beginId;
    this.#header = [startId, closeId];
    this.endId = endId;
  }

  /** Null when the vocabulary has no such markers. */
  static for(tokenizer: TemplateTokenizer): Llama3Template | null {
    const ids = controlIds(
      tokenizer,
      '<|begin_of_text|>',
      '<|start_header_id|>',
      '<|end_header_id|>',
      '<|eot_id|>',
    );
    return ids === null ? null : new Llama3Template(tokenizer, ids);
  }

  render(messages: readonly ChatMessage[]): number[] {
    return [
      this.#beginId,
      ...messages.flatMap(({ role, content }) => [
        ...this.#open(role),
        ...this.#tokenizer.encode(`\n\n${content.trim()}`),
        this.endId,
      ]),
      ...this.#open('assistant'),
      ...this.#tokenizer.encode('\n\n'),
    ];
  }

  #open(role: string): number[] {
    const [startId, closeId] = this.#header;
    return [startId, ...this.#tokenizer.encode(role), closeId];
  }
}
