// Messages as token ids and back, for servers that take messages only: an engine's requests carry ids, whatever is
// behind it. The ids are those of the pool's vocabulary, and the server never sees them.
import type { ChatMessage } from '../../contracts/engine.ts';
import { AppError } from '../../contracts/errors.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Control tokens that no text becomes, in pairs; which of them serves does not matter, the server sees none. */
const MARKERS = [
  ['<|im_start|>', '<|im_end|>'],
  ['<start_of_turn>', '<end_of_turn>'],
  ['<|start_header_id|>', '<|eot_id|>'],
] as const;

/** Each message is its opening marker, the ids of `role`, a line feed and the content, and its closing marker. */
export class MessageCodec {
  readonly #vocabulary: Vocabulary;
  readonly #start: number;
  readonly #end: number;

  /** @throws AppError INVALID_REQUEST when the vocabulary has the markers of no chat template */
  constructor(vocabulary: Vocabulary) {
    const markers = MARKERS.map((pair) => pair.map((name) => vocabulary.controlTokenId(name)));
    const [start, end] = markers.find((ids) => ids.every((id) => id !== null)) ?? [];
    if (typeof start !== 'number' || typeof end !== 'number') {
      throw new AppError('INVALID_REQUEST', {
        message:
          'the tokenizer’s vocabulary has no markers of ChatML, of gemma’s or of llama 3’s turns',
      });
    }
    this.#vocabulary = vocabulary;
    this.#start = start;
    this.#end = end;
  }

  encode(messages: readonly ChatMessage[]): number[] {
    return messages.flatMap(({ role, content }) => [
      this.#start,
      ...this.#vocabulary.encode(`${role}\n${content}`),
      this.#end,
    ]);
  }

  /** Inverse of encode. @throws AppError INVARIANT_VIOLATED for ids that encode() did not make */
  decode(tokenIds: readonly number[]): ChatMessage[] {
    const messages: ChatMessage[] = [];
    for (let from = 0; from < tokenIds.length;) {
      const to = tokenIds.indexOf(this.#end, from);
      if (tokenIds[from] !== this.#start || to < 0) throw notOurs();
      messages.push(this.#message(this.textOf(tokenIds.slice(from + 1, to))));
      from = to + 1;
    }
    return messages;
  }

  /** Text of whole characters. */
  textOf(tokenIds: readonly number[]): string {
    return Buffer.concat(tokenIds.map((id) => this.#vocabulary.bytesOf(id))).toString('utf8');
  }

  #message(text: string): ChatMessage {
    const cut = text.indexOf('\n');
    // Some vocabularies put a space before every text.
    const role = text.slice(0, Math.max(cut, 0)).trimStart();
    if (role !== 'system' && role !== 'user' && role !== 'assistant') throw notOurs();
    return { role, content: text.slice(cut + 1) };
  }
}

function notOurs(): AppError {
  return new AppError('INVARIANT_VIOLATED', {
    message: 'the prompt’s token ids are no coded messages',
  });
}
