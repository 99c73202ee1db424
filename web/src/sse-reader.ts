// Server-sent events from bytes. EventSource cannot send a bearer token or POST, so the page reads streams itself.
// Knows nothing of turns. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

export interface SseFrame {
  /** The frame's own `id:`; null when it has none. */
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

/** Turns text, cut anywhere, into frames. Comments and `retry:` are dropped. */
export class SseParser {
  #rest = '';
  #isFirst = true;
  #id: string | null = null;
  #event = '';
  #data: string[] = [];

  /** @returns the frames that `text` completes */
  push(text: string): SseFrame[] {
    if (this.#isFirst && text !== '') {
      this.#isFirst = false;
      text = text.startsWith('\uFEFF') ? text.slice(1) : text;
    }
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    // A CR at the very end stays with the rest: an LF may follow it in the next piece.
    this.#rest = lines.pop() ?? '';
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line: string): SseFrame[] {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    return [];
  }

  #dispatch(): SseFrame[] {
    const frame = {
      id: this.#id,
      event: this.#event === '' ? 'message' : this.#event,
      data: this.#data.join('\n'),
    };
    const isEmpty = this.#data.length === 0;
    this.#id = null;
    this.#event = '';
    this.#data = [];
    return isEmpty ? [] : [frame];
  }
}

/**
 * Frames of a response body until it ends; a frame that the end cuts off is dropped, as the standard says.
 * @param onBytes called for every piece, comments too: proof that the other side lives
 */
export async function* readSse(
  body: ReadableStream<Uint8Array>,
  onBytes: () => void = () => undefined,
): AsyncGenerator<SseFrame, void, undefined> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // A reader that stops early must close the connection; one that failed already has none, so its error says nothing new.
    await reader.cancel().catch(() => undefined);
  }
}
