// Where the last few tokens of a sequence stood before. What followed them there is a good guess at what follows now:
// answers quote their prompts, lists and code repeat themselves. Source: prompt lookup decoding (Saxena, 2023).

/** Agreement beyond this says nothing more. */
export const MAX_MATCH = 8;
/** Numbers of last tokens that are looked up, the longest first: it is the better guess where there is one. */
const SIZES = [4, 2, 1] as const;

export interface NgramMatch {
  /** Position behind the earlier occurrence: what stands there is the guess. */
  readonly next: number;
  /** Tokens that agree before it: 1 … MAX_MATCH. */
  readonly length: number;
}

/** An index over one growing list of token ids, which its owner keeps and only appends to. */
export class NgramIndex {
  readonly #tokenIds: readonly number[];
  /** For each size: hash of so many ids → position behind its newest occurrence that has a successor. */
  readonly #nextOf = SIZES.map(() => new Map<number, number>());
  #numIndexed = 1;

  constructor(tokenIds: readonly number[]) {
    this.#tokenIds = tokenIds;
  }

  /** The newest earlier occurrence of as many of the last tokens as were looked up, or null. */
  match(): NgramMatch | null {
    const end = this.#tokenIds.length;
    for (; this.#numIndexed < end; this.#numIndexed += 1) {
      for (const [index, size] of SIZES.entries()) {
        if (this.#numIndexed >= size)
          this.#nextOf[index]?.set(this.#hash(this.#numIndexed, size), this.#numIndexed);
      }
    }
    for (const [index, size] of SIZES.entries()) {
      if (end < size) continue;
      const next = this.#nextOf[index]?.get(this.#hash(end, size));
      if (next === undefined) continue;
      const length = this.#agreement(next, end);
      if (length >= size) return { next, length };
    }
    return null;
  }

  /** The `count` tokens from `next` on; behind the end of the list the guess goes on with itself, as a loop does. */
  continuation({ next }: NgramMatch, count: number): number[] {
    const period = this.#tokenIds.length - next;
    return Array.from(
      { length: count },
      (_, offset) => this.#tokenIds[next + (offset % period)] ?? 0,
    );
  }

  /** How many tokens before the two positions are the same, at most MAX_MATCH. */
  #agreement(next: number, end: number): number {
    let length = 0;
    while (
      length < MAX_MATCH &&
      length < next &&
      this.#tokenIds[next - 1 - length] === this.#tokenIds[end - 1 - length]
    )
      length += 1;
    return length;
  }

  /** Of the `size` ids before `end`. Two lists of ids may share one: the agreement is checked. Source: FNV-1a, by ids. */
  #hash(end: number, size: number): number {
    let hash = 0x811c9dc5;
    for (let position = end - size; position < end; position += 1)
      hash = Math.imul(hash ^ (this.#tokenIds[position] ?? 0), 0x01000193);
    return hash;
  }
}
