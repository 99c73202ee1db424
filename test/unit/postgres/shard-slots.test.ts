import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import type { UserId } from '../../../contracts/ids.ts';
import { evenMoves, NUM_SLOTS, slotOf } from '../../../postgres/shard-slots.ts';

const ids = (count: number): UserId[] => Array.from({ length: count }, () => uuidv7() as UserId);

describe('slotOf', () => {
  it('gives every id one of 256 slots, the same however the id is written', () => {
    fc.assert(
      fc.property(fc.uuid(), (id) => {
        const slot = slotOf(id as UserId);
        expect(Number.isInteger(slot) && slot >= 0 && slot < NUM_SLOTS).toBe(true);
        expect(slotOf(id.toUpperCase() as UserId)).toBe(slot);
      }),
    );
  });

  it('never changes: rows are where it said', () => {
    const of = (id: string): number => slotOf(id as UserId);
    expect(of('00000000-0000-7000-8000-000000000000')).toBe(50);
    expect(of('01890a5d-ac96-774b-bcce-b302099a8057')).toBe(150);
  });

  it('spreads ids of one moment evenly: no slot is far from its share', () => {
    const counts = Array.from({ length: NUM_SLOTS }, () => 0);
    for (const id of ids(51_200)) counts[slotOf(id)] = (counts[slotOf(id)] ?? 0) + 1;
    // 200 each, standard deviation 14: seven of them are never met by chance.
    expect(Math.min(...counts)).toBeGreaterThan(100);
    expect(Math.max(...counts)).toBeLessThan(300);
  });
});

describe('evenMoves', () => {
  const maps = fc.integer({ min: 1, max: 7 }).chain((numShards) =>
    fc.tuple(
      fc.constant(numShards),
      fc.array(fc.integer({ min: 0, max: numShards - 1 }), {
        minLength: NUM_SLOTS,
        maxLength: NUM_SLOTS,
      }),
    ),
  );
  const sizes = (shards: readonly number[], numShards: number): number[] =>
    Array.from({ length: numShards }, (_, shard) => shards.filter((each) => each === shard).length);
  const after = (shards: readonly number[], numShards: number): number[] => {
    const moved = [...shards];
    for (const { slot, target } of evenMoves(shards, numShards)) moved[slot] = target;
    return moved;
  };

  it('makes any map even, to one slot', () => {
    fc.assert(
      fc.property(maps, ([numShards, shards]) => {
        const counts = sizes(after(shards, numShards), numShards);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('moves no more slots than the surplus, none twice, and nothing of an even map', () => {
    fc.assert(
      fc.property(maps, ([numShards, shards]) => {
        const moves = evenMoves(shards, numShards);
        const surplus = sizes(shards, numShards).reduce(
          (sum, size) => sum + Math.max(0, size - Math.floor(NUM_SLOTS / numShards)),
          0,
        );
        expect(moves.length).toBeLessThanOrEqual(surplus);
        expect(new Set(moves.map(({ slot }) => slot)).size).toBe(moves.length);
        expect(moves.every(({ slot, target }) => shards[slot] !== target)).toBe(true);
        expect(evenMoves(after(shards, numShards), numShards)).toEqual([]);
      }),
    );
  });
});
