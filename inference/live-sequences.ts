// The sequences an engine has not ended yet, by the request they came with: the replies of one request share its id.
import type { Sequence } from './sequence.ts';

export class LiveSequences {
  readonly #groups = new Map<string, Set<Sequence>>();

  get isEmpty(): boolean {
    return this.#groups.size === 0;
  }

  has(seqId: string): boolean {
    return this.#groups.has(seqId);
  }

  add(sequence: Sequence): void {
    const group = this.#groups.get(sequence.seqId);
    if (group === undefined) this.#groups.set(sequence.seqId, new Set([sequence]));
    else group.add(sequence);
  }

  delete(sequence: Sequence): void {
    const group = this.#groups.get(sequence.seqId);
    group?.delete(sequence);
    if (group?.size === 0) this.#groups.delete(sequence.seqId);
  }

  /** Those of one request. */
  of(seqId: string): Sequence[] {
    return [...(this.#groups.get(seqId) ?? [])];
  }

  all(): Sequence[] {
    return [...this.#groups.values()].flatMap((group) => [...group]);
  }
}
