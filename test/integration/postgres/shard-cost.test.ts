// What the guards of several databases add to a turn's statements. Only a measurement: COLLOQUY_GUARD_TURNS says of how many.
import type { Stores } from '../../../postgres/stores.ts';
import { newOwner, userIdIn } from '../../helpers/owners.ts';
import { writeThrough } from '../../helpers/shard-writers.ts';
import { createTestShards, openTestStores } from '../../helpers/shards.ts';
import type { TestShards } from '../../helpers/shards.ts';

const NUM_TURNS = Number(process.env['COLLOQUY_GUARD_TURNS'] ?? 0);
const ROUNDS = 5;

(NUM_TURNS > 0 ? it : it.skip)(
  'adds little to the statements of a turn, by turns on one database and on two',
  async () => {
    const systems: { shards: TestShards; stores: Stores; waits: number[] }[] = [];
    for (const numShards of [1, 2]) {
      const shards = await createTestShards(numShards);
      const stores = openTestStores(shards.urls, 2);
      systems.push({ shards, stores, waits: [] });
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { stores, waits } of systems) {
        const owner = await newOwner(stores.directory, userIdIn(0));
        const isDone = (numTurns: number): boolean => numTurns >= NUM_TURNS / ROUNDS;
        const written = await writeThrough(stores, owner, isDone, 0);
        expect(written.failures).toEqual([]);
        // The first turns plan their statements.
        waits.push(...written.waits.slice(20));
      }
    }
    const medians = systems.map(({ waits }) => {
      const sorted = waits.toSorted((a, b) => a - b);
      return sorted[Math.floor(sorted.length / 2)] ?? 0;
    });
    process.stdout.write(`median ms a statement, one database and two: ${medians.join(' ')}\n`);
    expect((medians[1] ?? 0) - (medians[0] ?? 0)).toBeLessThan(1);
    for (const { shards, stores } of systems) {
      await stores.end();
      await shards.drop();
    }
  },
  120_000,
);
