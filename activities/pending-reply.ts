// What of one reply waits to be appended to the log: its text and ids since the last append, and its end.
import type { TextStream } from '../contracts/engine.ts';
import type { LoggedLogprob } from '../contracts/logprobs.ts';
import type { TurnEntry } from '../contracts/turn-events.ts';

export interface ReplyText {
  readonly stream: TextStream;
  /** Characters that readers have. */
  readonly textLength: number;
  /** … and of them, those that the stream gives again. */
  readonly numDelivered: number;
}

export class PendingReply {
  readonly #text: TextStream;
  readonly #index: number | null;
  #at: number;
  #numToSkip: number;
  #pendingText = '';
  #pendingIds: number[] = [];
  #pendingLogprobs: LoggedLogprob[] = [];
  #finish: 'stop' | 'length' | null = null;

  /** @param index null for a turn's only reply, whose entries carry none and whose end needs no entry of its own */
  constructor({ stream, textLength, numDelivered }: ReplyText, index: number | null) {
    this.#text = stream;
    this.#at = textLength;
    this.#numToSkip = Math.max(0, numDelivered);
    this.#index = index;
  }

  get isStopped(): boolean {
    return this.#text.isStopped;
  }

  get numPendingIds(): number {
    return this.#pendingIds.length;
  }

  get hasPending(): boolean {
    return this.#pendingIds.length > 0 || this.#pendingText !== '' || this.#finish !== null;
  }

  /** What follows a stop string is dropped. @param logprobs one for each id, when they were asked for */
  push(tokenIds: readonly number[], logprobs: readonly LoggedLogprob[]): void {
    for (const [at, id] of tokenIds.entries()) {
      if (this.#text.isStopped) return;
      this.#pendingIds.push(id);
      this.#pendingLogprobs.push(...logprobs.slice(at, at + 1));
      this.#addText(this.#text.push(id));
    }
  }

  end(reason: 'stop' | 'length' | null): void {
    this.#addText(this.#text.end());
    if (this.#index !== null) this.#finish = reason;
  }

  /** Takes what waits as entries, in order. */
  take(): TurnEntry[] {
    const entries: TurnEntry[] = [];
    const [text, ids, reason] = [this.#pendingText, this.#pendingIds, this.#finish];
    this.#pendingText = '';
    this.#pendingIds = [];
    this.#finish = null;
    const logprobs = this.#pendingLogprobs.length === 0 ? {} : { logprobs: this.#pendingLogprobs };
    this.#pendingLogprobs = [];
    const index = this.#index === null ? {} : { index: this.#index };
    if (ids.length > 0 || text !== '')
      entries.push({ type: 'token', data: { text, ids, at: this.#at, ...index, ...logprobs } });
    this.#at += text.length;
    if (reason !== null && this.#index !== null)
      entries.push({ type: 'finish', data: { index: this.#index, reason } });
    return entries;
  }

  #addText(text: string): void {
    // NUL is no character that a text column can hold.
    this.#pendingText += text.slice(this.#numToSkip).replaceAll('\0', '\uFFFD');
    this.#numToSkip -= Math.min(this.#numToSkip, text.length);
  }
}
