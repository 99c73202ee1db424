// What followed the last few tokens of a sequence wherever they stood before: answers quote their prompts, lists and code
// repeat themselves. The places are kept in chains by their last one, two and four tokens; the longest chain there is,
// newest place first, is looked through for those that agree in most tokens, and they vote. Sources: prompt lookup decoding
// (Saxena, 2023); prediction by partial matching (Cleary & Witten, 1984), for trusting the longest context.

/** Agreements that are told apart, the longest first. */
const ORDERS = [12, 8, 6, 4, 3, 2, 1] as const;
const MAX_ORDER = ORDERS[0];
/** Lengths of the contexts that have a chain. */
const SIZES = [4, 2, 1] as const;
/** Places of a chain that are looked at. */
const MAX_PLACES = 48;
/** Weight of each place's vote beside that of the newer one before it. */
const VOTE_DECAY = 0.8;
/** Share of the votes from which a guess counts as good though others were made. */
const MAJORITY = 0.6;

/** Kinds of evidence, see NextToken. */
export const NUM_KINDS = 3 * ORDERS.length;

export interface NextToken {
  readonly tokenId: number;
  /**
   * What speaks for it, 0 … NUM_KINDS − 1: by how many tokens agreed, the fewest last, and then by how unanimous the places
   * were: divided, one place or a majority, several of one mind.
   */
  readonly kind: number;
}

/** How often a guess of a kind is right before anything is known, roughly. */
export function priorRate(kind: number): number {
  const order = ORDERS[Math.floor(kind / 3)] ?? 1;
  const byOrder = 1 - 0.8 / order ** 0.6;
  return Math.min(0.95, byOrder * (0.8 + 0.15 * (kind % 3)));
}

interface Chain {
  readonly size: number;
  /** Key of a context → the newest place behind it. */
  readonly newest: Map<number, number>;
  /** Place → the one before it with the same key, −1 for none. */
  readonly previous: number[];
}

/** An index over one growing list of token ids, which its owner keeps and only appends to. */
export class NgramIndex {
  readonly #tokenIds: readonly number[];
  readonly #chains = SIZES.map((size): Chain => ({ size, newest: new Map(), previous: [-1] }));
  /** Places, each a position with a token before it and one at it, that are in the chains. */
  #numIndexed = 1;

  constructor(tokenIds: readonly number[]) {
    this.#tokenIds = tokenIds;
  }

  /**
   * The likeliest token behind the list and `guesses`, or null when its last token is new.
   * @param guesses tokens that are taken for granted; never kept
   */
  next(guesses: readonly number[] = []): NextToken | null {
    this.#catchUp();
    const last = this.#contextOf(guesses);
    for (const { size, newest, previous } of this.#chains) {
      if (last.length < size) continue;
      let [place, top] = [newest.get(keyOf(last, last.length, size)) ?? -1, 0];
      const places: { readonly place: number; readonly length: number }[] = [];
      for (; place >= 0 && places.length < MAX_PLACES; place = previous[place] ?? -1) {
        const length = this.#agreement(place, last);
        top = Math.max(top, length);
        places.push({ place, length });
      }
      // A key may stand for several contexts; so may the agreement be shorter than its size.
      if (top < size) continue;
      const index = ORDERS.findIndex((each) => each <= top);
      const order = ORDERS[index] ?? 1;
      const voters = places.filter(({ length }) => length >= order);
      return this.#elect(
        voters.map(({ place: at }) => this.#tokenIds[at] ?? 0),
        index,
      );
    }
    return null;
  }

  #catchUp(): void {
    const ids = this.#tokenIds;
    for (; this.#numIndexed < ids.length; this.#numIndexed += 1) {
      const place = this.#numIndexed;
      for (const { size, newest, previous } of this.#chains) {
        if (place < size) {
          previous.push(-1);
          continue;
        }
        const key = keyOf(ids, place, size);
        previous.push(newest.get(key) ?? -1);
        newest.set(key, place);
      }
    }
  }

  /** The last MAX_ORDER tokens, or all. */
  #contextOf(guesses: readonly number[]): number[] {
    const numOwn = Math.max(0, MAX_ORDER - guesses.length);
    return [...(numOwn > 0 ? this.#tokenIds.slice(-numOwn) : []), ...guesses.slice(-MAX_ORDER)];
  }

  /** How many tokens before a place are the last ones of the context. */
  #agreement(place: number, context: readonly number[]): number {
    const most = Math.min(place, context.length);
    let length = 0;
    while (
      length < most &&
      this.#tokenIds[place - 1 - length] === context[context.length - 1 - length]
    )
      length += 1;
    return length;
  }

  /** @param votes the tokens at the places that agree, newest first; at least one */
  #elect(votes: readonly number[], order: number): NextToken {
    const weights = new Map<number, number>();
    let [weight, total] = [1, 0];
    for (const tokenId of votes) {
      weights.set(tokenId, (weights.get(tokenId) ?? 0) + weight);
      total += weight;
      weight *= VOTE_DECAY;
    }
    let [best, most] = [votes[0] ?? 0, 0];
    for (const [tokenId, own] of weights) if (own > most) [best, most] = [tokenId, own];
    const isUnanimous = weights.size === 1;
    const certainty = isUnanimous && votes.length > 1 ? 2 : isUnanimous || most > MAJORITY * total;
    return { tokenId: best, kind: 3 * order + Number(certainty) };
  }
}

/** Names the `size` ids before `end`: exactly up to two of them, by FNV-1a over more. */
function keyOf(ids: readonly number[], end: number, size: number): number {
  const last = ids[end - 1] ?? 0;
  if (size === 1) return last;
  if (size === 2) return (ids[end - 2] ?? 0) * 2 ** 24 + last;
  let hash = 0x811c9dc5;
  for (let position = end - size; position < end; position += 1)
    hash = Math.imul(hash ^ (ids[position] ?? 0), 0x01000193);
  return hash;
}
