// Delta debugging: from a list that makes something fail to a short list that still does. Source: Zeller and
// Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002 (ddmin, with complements only).

export interface Shrunk<Item> {
  /** Fails, as far as a run can say; the given list when nothing shorter did. */
  readonly items: readonly Item[];
  readonly numTries: number;
  /** No item can be left out; false when time was up before that was known. */
  readonly isMinimal: boolean;
}

/**
 * @param items fails
 * @param fails runs a shorter list, in the same order; a failure by chance may not come again, and is then no failure
 * @param hasTime asked before each try
 */
export async function shrink<Item>(
  items: readonly Item[],
  fails: (shorter: readonly Item[]) => Promise<boolean>,
  hasTime: () => boolean = () => true,
): Promise<Shrunk<Item>> {
  let shortest = items;
  let numParts = 2;
  let numTries = 0;
  while (shortest.length > 0) {
    numParts = Math.min(numParts, shortest.length);
    const size = Math.ceil(shortest.length / numParts);
    let found: readonly Item[] | null = null;
    for (let from = 0; from < shortest.length && found === null; from += size) {
      if (!hasTime()) return { items: shortest, numTries, isMinimal: false };
      const rest = [...shortest.slice(0, from), ...shortest.slice(from + size)];
      numTries += 1;
      if (await fails(rest)) found = rest;
    }
    if (found !== null) {
      shortest = found;
      numParts = Math.max(2, numParts - 1);
    } else if (size === 1) break;
    else numParts *= 2;
  }
  return { items: shortest, numTries, isMinimal: true };
}
