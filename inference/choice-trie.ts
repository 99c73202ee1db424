// The token ids that a reply may go on with when it must be one of a few given ones. A function of the output so far alone:
// a resumed, preempted or speculated reply is held to the same choices.

interface Node {
  readonly next: Map<number, Node>;
  /** A choice ends here. */
  isEnd: boolean;
}

/**
 * Added to the logit of what may follow. Logits of models are some tens, so nothing else is left beside it: not for the best
 * token, and not for a draw at a temperature of 2, where the rest weighs exp(−2000), which is 0 in 32 bits. Allowed ones
 * keep their distances to 1/4096.
 */
export const CHOICE_BIAS = 4096;

export class ChoiceTrie {
  readonly #root: Node = { next: new Map(), isEnd: false };

  /** @param choices token ids of each, none empty */
  constructor(choices: readonly (readonly number[])[]) {
    for (const choice of choices) {
      let node = this.#root;
      for (const id of choice) {
        const next: Node = node.next.get(id) ?? { next: new Map(), isEnd: false };
        node.next.set(id, next);
        node = next;
      }
      node.isEnd = true;
    }
  }

  /**
   * Ids that may follow the output, a stop token not among them; null behind what is no beginning of a choice (a wrong
   * guess), where nothing is asked for.
   */
  nextIds(tokenIds: readonly number[], promptLength: number, length: number): number[] | null {
    const node = this.#at(tokenIds, promptLength, length);
    return node === null ? null : [...node.next.keys()];
  }

  /** A whole choice, which another may go on from. */
  isChoice(tokenIds: readonly number[], promptLength: number, length: number): boolean {
    return this.#at(tokenIds, promptLength, length)?.isEnd === true;
  }

  /** A whole choice that no other goes on from: the reply is complete. */
  isComplete(tokenIds: readonly number[], promptLength: number): boolean {
    const node = this.#at(tokenIds, promptLength, tokenIds.length);
    return node !== null && node.isEnd && node.next.size === 0;
  }

  #at(tokenIds: readonly number[], promptLength: number, length: number): Node | null {
    let node: Node | undefined = this.#root;
    for (let position = promptLength; position < length && node !== undefined; position += 1)
      node = node.next.get(tokenIds[position] ?? -1);
    return node ?? null;
  }
}
