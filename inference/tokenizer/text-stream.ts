// Text of one reply from its token ids: bytes → characters → stop strings. See TextStream in contracts/engine.ts.
import type { TextStream } from '../../contracts/engine.ts';
import { StopMatcher } from './stop-matcher.ts';
import { Utf8Stream } from './utf8-stream.ts';

export class TokenTextStream implements TextStream {
  readonly #bytesOf: (tokenId: number) => Uint8Array;
  readonly #utf8 = new Utf8Stream();
  readonly #stop: StopMatcher;

  /** @param bytesOf the bytes of a token; empty for control tokens, which are no text */
  constructor(bytesOf: (tokenId: number) => Uint8Array, stop: readonly string[]) {
    this.#bytesOf = bytesOf;
    this.#stop = new StopMatcher(stop);
  }

  get isStopped(): boolean {
    return this.#stop.isStopped;
  }

  push(tokenId: number): string {
    return this.#stop.push(this.#utf8.push(this.#bytesOf(tokenId)));
  }

  end(): string {
    if (this.isStopped) return '';
    const last = this.#stop.push(this.#utf8.end());
    return this.isStopped ? last : last + this.#stop.end();
  }
}
