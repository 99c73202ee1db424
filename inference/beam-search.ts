// One request's beam search: which continuations of its beams live on, and what has come to an end. It knows no blocks and
// no batches: whoever runs the beams tells it each one's likely next tokens, and does what it decides.
//
// All beams are equally long. A step takes every beam's continuations by any token, ordered by the sum of their tokens'
// logprobs; equal ones in the order of their beams, then of the likelihood of their tokens. Those that end with a stop token
// are complete if they are among the first numBeams; the first numBeams of the others are the next beams. The search
// ends when numBeams are complete, or at the length, where the beams are complete as they are. Of the complete ones those
// with the best sum / length ^ lengthPenalty are the replies; an ending token counts for the sum, not for the length.
// Sources: Wu et al. 2016 (arXiv 1609.08144) §7 for the normalisation; the end at numBeams complete is fairseq's.

/** A next token of a beam. */
export interface Continuation {
  readonly tokenId: number;
  readonly logprob: number;
}

export interface Child<Beam> {
  readonly beam: Beam;
  readonly tokenId: number;
  /** Sum of the logprobs of all its output tokens. */
  readonly total: number;
}

export interface Hypothesis {
  readonly tokenIds: readonly number[];
  readonly score: number;
  readonly reason: 'stop' | 'length';
}

export interface BeamSearchOptions {
  readonly numBeams: number;
  readonly lengthPenalty: number;
  readonly numReplies: number;
  readonly promptLength: number;
  readonly stopTokenIds: readonly number[];
}

interface Live<Beam> {
  readonly beam: Beam;
  readonly total: number;
  continuations: readonly Continuation[] | null;
}

export class BeamSearch<Beam extends { readonly tokenIds: readonly number[] }> {
  readonly numBeams: number;
  /**
   * Next tokens that each beam must tell of, best first: with these, looking at all tokens would decide the same. At most
   * numBeams go on from one beam, and the stop tokens may stand before each of them.
   */
  readonly numContinuations: number;
  readonly #options: BeamSearchOptions;
  readonly #stops: ReadonlySet<number>;
  #live: Live<Beam>[];
  #complete: Hypothesis[] = [];

  /** @param root holds the prompt and nothing more */
  constructor(root: Beam, options: BeamSearchOptions) {
    this.#options = options;
    this.numBeams = options.numBeams;
    this.#stops = new Set(options.stopTokenIds);
    this.numContinuations = numContinuationsOf(options.numBeams, options.stopTokenIds);
    this.#live = [{ beam: root, total: 0, continuations: null }];
  }

  /** In their order. */
  get beams(): Beam[] {
    return this.#live.map(({ beam }) => beam);
  }

  /** The search begins anew, from this beam, which holds the prompt again. */
  restart(root: Beam): void {
    this.#live = [{ beam: root, total: 0, continuations: null }];
    this.#complete = [];
  }

  /** @returns whether all beams have told, so that advance() can decide */
  tell(beam: Beam, continuations: readonly Continuation[]): boolean {
    for (const live of this.#live) if (live.beam === beam) live.continuations = continuations;
    return this.#live.every((live) => live.continuations !== null);
  }

  /**
   * Decides a step.
   * @param isLast the beams are at their length with one more token
   * @returns the next beams, in their order; none when the search is over
   */
  advance(isLast: boolean): Child<Beam>[] {
    const next: Child<Beam>[] = [];
    for (const [place, child] of this.#ordered().entries()) {
      if (next.length === this.numBeams) break;
      if (!this.#stops.has(child.tokenId)) next.push(child);
      else if (place < this.numBeams) this.#keep(this.#outputOf(child.beam), child.total, 'stop');
    }
    if (this.#complete.length >= this.numBeams) return [];
    if (!isLast) return next;
    for (const { beam, tokenId, total } of next)
      this.#keep([...this.#outputOf(beam), tokenId], total, 'length');
    return [];
  }

  /** The beams as they are now, each holding the tokens of its child. */
  become(beams: readonly { readonly beam: Beam; readonly total: number }[]): void {
    this.#live = beams.map((each) => ({ ...each, continuations: null }));
  }

  /** Once it is over: the replies, best first. Fewer than were asked for when there were no more. */
  get replies(): Hypothesis[] {
    return this.#complete
      .toSorted((one, other) => other.score - one.score)
      .slice(0, this.#options.numReplies);
  }

  #ordered(): Child<Beam>[] {
    return this.#live
      .flatMap(({ beam, total, continuations }) =>
        (continuations ?? []).map(({ tokenId, logprob }) => ({
          beam,
          tokenId,
          total: total + logprob,
        })),
      )
      .sort((one, other) => other.total - one.total);
  }

  #outputOf({ tokenIds }: Beam): number[] {
    return tokenIds.slice(this.#options.promptLength);
  }

  #keep(tokenIds: readonly number[], total: number, reason: Hypothesis['reason']): void {
    const length = Math.max(1, tokenIds.length);
    const score = total / length ** this.#options.lengthPenalty;
    this.#complete.push({ tokenIds, score, reason });
  }
}

/** Next tokens that each beam of a search must tell of. */
export function numContinuationsOf(numBeams: number, stopTokenIds: readonly number[]): number {
  return numBeams + new Set(stopTokenIds).size;
}
