// Where the last few tokens of a sequence stood before. What followed them there is a good guess at what follows now:
// answers quote their prompts, lists and code repeat themselves. Source: prompt lookup decoding (Saxena, 2023).

/** Tokens that must agree at least. */
export const MIN_MATCH = 2;
/** Agreement beyond this says nothing more. */
export const MAX_MATCH = 8;

export interface NgramMatch {
  /** Position behind the earlier occurrence: what stands there is the guess. */
  readonly next: number;
  /** Tokens that agree before it: MIN_MATCH … MAX_MATCH. */
  readonly length: number;
}

/** An index over one growing list of token ids, which its owner keeps and only appends to. */
export class NgramIndex {
  readonly #tokenIds: readonly number[];
  /** Pair of ids → position behind its newest occurrence that has a successor. */
  readonly #nextOf = new Map<number, number>();
  #numIndexed = 0;

  constructor(tokenIds: readonly number[]) {
    this.#tokenIds = tokenIds;
  }

  /** The newest earlier occurrence of the last tokens, or null. */
  match(): NgramMatch | null {
    const ids = this.#tokenIds;
    const end = ids.length;
    for (let next = Math.max(this.#numIndexed, MIN_MATCH); next < end; next += 1)
      this.#nextOf.set(pairOf(ids[next - 2], ids[next - 1]), next);
    this.#numIndexed = end;
    if (end < MIN_MATCH) return null;
    const next = this.#nextOf.get(pairOf(ids[end - 2], ids[end - 1]));
    if (next === undefined) return null;
    let length = MIN_MATCH;
    while (length < MAX_MATCH && length < next && ids[next - 1 - length] === ids[end - 1 - length])
      length += 1;
    return { next, length };
  }

  /** The `count` tokens from `next` on; behind the end of the list the guess goes on with itself, as a loop does. */
  continuation({ next }: NgramMatch, count: number): number[] {
    const period = this.#tokenIds.length - next;
    return Array.from(
      { length: count },
      (_, offset) => this.#tokenIds[next + (offset % period)] ?? 0,
    );
  }
}

/** Two ids as one key: exact, ids are below 2^26. */
function pairOf(one = 0, other = 0): number {
  return one * 0x400_0000 + other;
}
