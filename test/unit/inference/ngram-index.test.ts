import fc from 'fast-check';
import { NgramIndex, NUM_KINDS, priorRate } from '../../../inference/ngram-index.ts';
import type { NextToken } from '../../../inference/ngram-index.ts';

const ORDERS = [12, 8, 6, 4, 3, 2, 1];

/** What next() must say, by looking at every place of the whole list; for lists with few enough of them. */
function slowNext(ids: readonly number[], guesses: readonly number[]): NextToken | null {
  const context = [...ids, ...guesses];
  const agreement = (place: number): number => {
    let length = 0;
    while (
      length < Math.min(12, place, context.length) &&
      ids[place - 1 - length] === context[context.length - 1 - length]
    )
      length += 1;
    return length;
  };
  const places = Array.from({ length: Math.max(0, ids.length - 1) }, (_, index) => index + 1)
    .map((place) => ({ id: ids[place] ?? -1, length: agreement(place) }))
    .reverse();
  const top = Math.max(0, ...places.map(({ length }) => length));
  const order = ORDERS.find((each) => each <= top);
  if (order === undefined) return null;
  const votes = places.filter(({ length }) => length >= order).map(({ id }) => id);
  const weightOf = (id: number): number =>
    votes.reduce((sum, each, rank) => sum + (each === id ? 0.8 ** rank : 0), 0);
  const total = votes.reduce((sum, _id, rank) => sum + 0.8 ** rank, 0);
  const tokenId = [...new Set(votes)].reduce((best, id) =>
    weightOf(id) > weightOf(best) + 1e-9 ? id : best,
  );
  const isUnanimous = votes.every((id) => id === tokenId);
  const certainty = isUnanimous
    ? Math.min(2, votes.length)
    : Number(weightOf(tokenId) > 0.6 * total);
  return { tokenId, kind: 3 * ORDERS.indexOf(order) + certainty };
}

describe('NgramIndex', () => {
  it('says what followed where most of the last tokens agree, and what speaks for it', () => {
    const kindOf = (order: number, certainty: number): number =>
      3 * ORDERS.indexOf(order) + certainty;
    const next = (ids: number[], guesses?: number[]) => new NgramIndex(ids).next(guesses);
    // Three tokens agree at one place, one at another.
    expect(next([9, 1, 2, 3, 9, 1, 4, 1, 9, 1, 2])).toEqual({ tokenId: 3, kind: kindOf(3, 1) });
    // Two places of one mind.
    expect(next([1, 2, 5, 1, 2, 5, 7, 1, 2])).toEqual({ tokenId: 5, kind: kindOf(2, 2) });
    // Two places that differ: the newer one, a bare majority short of the share.
    expect(next([1, 2, 5, 1, 2, 6, 7, 1, 2])).toEqual({ tokenId: 6, kind: kindOf(2, 0) });
    // Three against one.
    expect(next([4, 5, 4, 5, 4, 5, 4, 6, 4])?.tokenId).toBe(5);
    expect(next([1, 2, 3])).toBeNull();
    expect(next([])).toBeNull();
    // A guess is taken for granted, and followed as any other token.
    expect(next([1, 2, 3, 8, 1], [2])).toEqual({ tokenId: 3, kind: kindOf(2, 1) });
    expect(next([1, 2, 3, 8, 1], [2, 3])).toEqual({ tokenId: 8, kind: kindOf(3, 1) });
  });

  it('agrees with a search of the whole list, however the list grew, and keeps no guess', () => {
    const some = fc.array(fc.nat(3), { maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(fc.record({ more: some, guesses: some }), { maxLength: 8 }),
        (additions) => {
          const ids: number[] = [];
          const index = new NgramIndex(ids);
          for (const { more, guesses } of additions) {
            ids.push(...more);
            expect(index.next(guesses)).toEqual(slowNext(ids, guesses));
            expect(index.next()).toEqual(slowNext(ids, []));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('believes a longer agreement, and a more unanimous one, more', () => {
    const rates = Array.from({ length: NUM_KINDS }, (_, kind) => priorRate(kind));
    for (const [kind, rate] of rates.entries()) {
      expect(rate).toBeGreaterThan(0);
      expect(rate).toBeLessThan(1);
      if (kind % 3 > 0) expect(rate).toBeGreaterThan(rates[kind - 1] ?? 1);
      if (kind >= 3) expect(rate).toBeLessThanOrEqual(rates[kind - 3] ?? 0);
    }
  });
});
