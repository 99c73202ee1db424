import fc from 'fast-check';
import { MAX_MATCH, MIN_MATCH, NgramIndex } from '../../../inference/ngram-index.ts';

/** What match() must find, looked for from the newest to the oldest. */
function slowMatch(ids: readonly number[]): { next: number; length: number } | null {
  for (let next = ids.length - 1; next >= MIN_MATCH; next -= 1) {
    let length = 0;
    while (
      length < MAX_MATCH &&
      length < next &&
      ids[next - 1 - length] === ids[ids.length - 1 - length]
    )
      length += 1;
    if (length >= MIN_MATCH) return { next, length };
  }
  return null;
}

describe('NgramIndex', () => {
  it('finds the newest earlier occurrence of the last tokens, and how far back they agree', () => {
    expect(new NgramIndex([5, 1, 2, 7, 1, 2]).match()).toEqual({ next: 3, length: 2 });
    expect(new NgramIndex([9, 1, 2, 7, 9, 1, 2]).match()).toEqual({ next: 3, length: 3 });
    expect(new NgramIndex([1, 2, 3]).match()).toBeNull();
    expect(new NgramIndex([1]).match()).toBeNull();
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
