import fc from 'fast-check';
import { MAX_MATCH, NgramIndex } from '../../../inference/ngram-index.ts';
import type { NgramMatch } from '../../../inference/ngram-index.ts';

/** What match() must find, by searching the whole list for each size. */
function slowMatch(ids: readonly number[]): NgramMatch | null {
  const agreement = (next: number): number => {
    let length = 0;
    while (
      length < MAX_MATCH &&
      length < next &&
      ids[next - 1 - length] === ids[ids.length - 1 - length]
    )
      length += 1;
    return length;
  };
  for (const size of [4, 2, 1]) {
    for (let next = ids.length - 1; next >= size; next -= 1)
      if (agreement(next) >= size) return { next, length: agreement(next) };
  }
  return null;
}

describe('NgramIndex', () => {
  it('prefers the newest occurrence of the last four tokens, then of two, then of one, and tells how far back they agree', () => {
    expect(new NgramIndex([1, 2, 3, 4, 5, 3, 4, 6, 1, 2, 3, 4]).match()).toEqual({
      next: 4,
      length: 4,
    });
    expect(new NgramIndex([5, 1, 2, 7, 1, 2]).match()).toEqual({ next: 3, length: 2 });
    expect(new NgramIndex([9, 1, 2, 7, 9, 1, 2]).match()).toEqual({ next: 3, length: 3 });
    expect(new NgramIndex([1, 2, 3]).match()).toBeNull();
    expect(new NgramIndex([7, 1, 2, 1]).match()).toEqual({ next: 2, length: 1 });
    expect(new NgramIndex([1]).match()).toBeNull();
    expect(new NgramIndex([]).match()).toBeNull();
  });

  it('agrees with a search of the whole list, however the list grew', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.nat(3), { maxLength: 6 }), { maxLength: 12 }),
        (additions) => {
          const ids: number[] = [];
          const index = new NgramIndex(ids);
          for (const more of additions) {
            ids.push(...more);
            expect(index.match()).toEqual(slowMatch(ids));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('continues with what followed, and goes round where that reaches the end', () => {
    const index = new NgramIndex([8, 1, 2, 3, 1, 2]);
    expect(index.continuation({ next: 3, length: 2 }, 5)).toEqual([3, 1, 2, 3, 1]);
  });
});
