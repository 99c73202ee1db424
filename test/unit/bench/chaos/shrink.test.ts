// Shrinking a list that fails: on failures that are made up.
import fc from 'fast-check';
import { shrink } from '../../../../bench/chaos/shrink.ts';

const has =
  (...needed: readonly number[]) =>
  (items: readonly number[]): Promise<boolean> =>
    Promise.resolve(needed.every((each) => items.includes(each)));

describe('shrink', () => {
  it('finds exactly the items that the failure needs, in their order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 40 }),
        fc.infiniteStream(fc.boolean()),
        async (items, choices) => {
          const needed = items.filter(() => choices.next().value);
          const { items: shortest, isMinimal } = await shrink(items, has(...needed));
          expect([shortest, isMinimal]).toEqual([needed, true]);
        },
      ),
    );
  });

  it('finds one of several causes', async () => {
    const either = async (items: readonly number[]): Promise<boolean> =>
      (await has(3, 4)(items)) || (await has(9)(items));
    const { items } = await shrink([1, 2, 3, 4, 5, 6, 7, 8, 9], either);
    expect([[3, 4], [9]]).toContainEqual(items);
  });

  it('keeps the whole list when the failure does not come again', async () => {
    const { items, isMinimal } = await shrink([1, 2, 3], () => Promise.resolve(false));
    expect([items, isMinimal]).toEqual([[1, 2, 3], true]);
  });

  it('comes down to nothing when the failure needs no item', async () => {
    expect((await shrink([1, 2, 3], has())).items).toEqual([]);
  });

  it('stops when time is up, with the shortest list so far', async () => {
    let numTries = 0;
    const fails = (items: readonly number[]): Promise<boolean> => {
      numTries += 1;
      return has(7)(items);
    };
    const all = Array.from({ length: 16 }, (_, index) => index);
    const shrunk = await shrink(all, fails, () => numTries < 3);
    expect(shrunk).toMatchObject({ numTries: 3, isMinimal: false });
    expect(shrunk.items).toContain(7);
    expect(shrunk.items.length).toBeLessThan(16);
  });
});
