// Slots that move while they are written. COLLOQUY_SLOT_MOVES (default 2) is how often; the bar is measured with 40.
import { setTimeout as pause } from 'node:timers/promises';
import { newConversationId } from '../../../contracts/ids.ts';
import { findConversation, insertConversation } from '../../../postgres/conversations.ts';
import { createPool, rows } from '../../../postgres/pool.ts';
import type { Pool } from '../../../postgres/pool.ts';
import { countSlot } from '../../../postgres/shard-copy.ts';
import { cancelMove, moveSlot } from '../../../postgres/shard-move.ts';
import { expectSlot, insertMove, leave, noteChanges } from '../../../postgres/shard-move-rows.ts';
import { readMap, readMoves } from '../../../postgres/shard-map-rows.ts';
import type { Stores } from '../../../postgres/stores.ts';
import { newOwner, userIdIn } from '../../helpers/owners.ts';
import { auditWritten, writeThrough } from '../../helpers/shard-writers.ts';
import type { Written } from '../../helpers/shard-writers.ts';
import { createTestShards, openTestStores } from '../../helpers/shards.ts';
import type { TestShards } from '../../helpers/shards.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const NUM_MOVES = Number(process.env['COLLOQUY_SLOT_MOVES'] ?? 2);
const NUM_KILLS = Number(process.env['COLLOQUY_SLOT_KILLS'] ?? 2);
const REST_MS = Number(process.env['COLLOQUY_SLOT_REST_MS'] ?? 100);
const NUM_WRITERS = 8;
const SLOT = 7;

let shards: TestShards;
let pools: Pool[];
/** As many processes, each with a map of its own. */
let processes: Stores[];

beforeAll(async () => {
  shards = await createTestShards(2);
  pools = shards.urls.map((url) => createPool({ url, poolSize: 2 }, () => undefined));
  processes = [1, 2].map(() => openTestStores(shards.urls, 6));
});

afterAll(async () => {
  await Promise.all([...processes, ...pools].map((each) => each.end()));
  await shards.drop();
});

const shardOf = async (slot: number): Promise<number | undefined> =>
  (await readMap(processes[0]?.directory as Pool)).shards[slot];

/** Runs `work` while writers write in the slot; then everything acknowledged is there once, and nobody read anything stale. */
async function underWriters(work: (written: () => number) => Promise<void>): Promise<Written[]> {
  const owners = await Promise.all(
    Array.from({ length: NUM_WRITERS }, () =>
      newOwner(processes[0]?.directory as Pool, userIdIn(SLOT)),
    ),
  );
  let isDone = false;
  const turns = owners.map(() => 0);
  const writers = owners.map((owner, index) =>
    writeThrough(
      processes[index % 2] as Stores,
      owner,
      (numTurns) => {
        turns[index] = numTurns;
        return isDone;
      },
      REST_MS,
    ),
  );
  try {
    // Of the writer that has written least: all of them have to get on.
    await work(() => Math.min(...turns));
  } finally {
    isDone = true;
  }
  const written = await Promise.all(writers);
  const audits = await Promise.all(written.map((each) => auditWritten(pools, each)));
  expect(audits.flatMap(({ lost }) => lost)).toEqual([]);
  expect(audits.flatMap(({ doubled }) => doubled)).toEqual([]);
  expect(written.flatMap(({ failures }) => failures)).toEqual([]);
  expect(written.reduce((sum, { staleReads }) => sum + staleReads, 0)).toBe(0);
  return written;
}

async function expectNothingLeft(): Promise<void> {
  const counts = await Promise.all(pools.map((pool) => countSlot(pool, SLOT)));
  const empty = Object.fromEntries(Object.keys(counts[0] ?? {}).map((name) => [name, 0]));
  expect(counts[1 - ((await shardOf(SLOT)) ?? 0)]).toEqual(empty);
  const left = await Promise.all(
    pools.flatMap((pool) =>
      ['slot_changes', 'slot_moves', 'slot_guard'].map((name) =>
        rows(pool, `select * from ${name}`),
      ),
    ),
  );
  expect(left.flat()).toEqual([]);
}

it(
  `loses and doubles nothing in ${NUM_MOVES} moves under ${NUM_WRITERS} writers, and keeps nobody waiting for a second`,
  async () => {
    const held: number[] = [];
    const written = await underWriters(async () => {
      for (let move = 0; move < NUM_MOVES; move += 1) {
        const target = 1 - ((await shardOf(SLOT)) ?? 0);
        const report = await moveSlot(shards.urls, SLOT, target, { graceMs: 0 });
        held.push(report?.heldMs ?? 0);
      }
    });
    const waits = written.flatMap((each) => each.waits).toSorted((a, b) => a - b);
    const worst = written.map((each) => Math.max(...each.waits)).toSorted((a, b) => a - b);
    const figures = {
      turns: written.reduce((sum, { replies }) => sum + replies.length, 0),
      waitP50: waits[Math.floor(waits.length / 2)],
      waitP99: waits[Math.floor(waits.length * 0.99)],
      pauseP50: worst[Math.floor(worst.length / 2)],
      pauseWorst: worst.at(-1),
      heldP50: held.toSorted((a, b) => a - b)[Math.floor(held.length / 2)],
      heldWorst: Math.max(...held),
    };
    if (process.env['COLLOQUY_SLOT_MOVES'] !== undefined)
      process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect(figures.pauseWorst).toBeLessThan(1000);
    expect(figures.turns).toBeGreaterThan(NUM_MOVES);
    await expectNothingLeft();
  },
  20_000 + NUM_MOVES * 5000,
);

it(
  `goes on after the mover was killed, ${NUM_KILLS} times at any moment, and the slot is written all the while`,
  async () => {
    await underWriters(async (written) => {
      for (let kill = 0; kill < NUM_KILLS; kill += 1) {
        const target = 1 - ((await shardOf(SLOT)) ?? 0);
        const moving = moveSlot(shards.urls, SLOT, target, { graceMs: 0 }).then(
          () => 'moved',
          () => 'killed',
        );
        const begun = waitFor('the move has begun', async () => {
          const moves = await rows(pools[0] as Pool, 'select 1 from slot_moves');
          return moves.length > 0;
        });
        await Promise.race([begun, moving]);
        await pause(Math.random() * 800);
        await killMovers();
        await moving;
        const before = written();
        await waitFor('every writer gets on', () => written() >= before + 2, 5000);
        await moveSlot(shards.urls, SLOT, target, { graceMs: 0 });
        expect(await shardOf(SLOT)).toBe(target);
      }
    });
    await expectNothingLeft();
  },
  20_000 + NUM_KILLS * 10_000,
);

it('is finished by any process when the mover died after the source had given the slot away', async () => {
  const [directory, other] = pools as [Pool, Pool];
  const source = (await shardOf(SLOT)) ?? 0;
  const target = 1 - source;
  const [from, to] = source === 0 ? [directory, other] : [other, directory];
  await insertMove(directory, SLOT, source, target);
  const [move] = await readMoves(directory);
  if (move === undefined) throw new Error('there is no move');
  await expectSlot(to, move);
  await noteChanges(from, move);
  expect(await leave(from, move)).toBe(true);
  const owner = await newOwner(directory, userIdIn(SLOT));
  // Their first statement is refused by one shard and not yet taken by the other.
  const conversationId = newConversationId();
  await insertConversation((processes[1] as Stores).primaryOf(owner.userId), {
    ...owner,
    conversationId,
    model: 'colloquy-mini',
    region: 'local',
    systemPrompt: null,
    title: null,
  });
  expect(await shardOf(SLOT)).toBe(target);
  expect(await findConversation(to, owner.userId, conversationId)).not.toBeNull();
  await moveSlot(shards.urls, SLOT, source, { graceMs: 0 });
  await expectNothingLeft();
});

it('is taken back while the source serves the slot, with nothing left at the target', async () => {
  const [directory] = pools as [Pool];
  const source = (await shardOf(SLOT)) ?? 0;
  const onProgress = (): never => {
    throw new Error('ended in the middle');
  };
  await expect(moveSlot(shards.urls, SLOT, 1 - source, { graceMs: 0, onProgress })).rejects.toThrow(
    'ended in the middle',
  );
  await expect(moveSlot(shards.urls, SLOT, 5, { graceMs: 0 })).rejects.toThrow('on its way');
  await cancelMove(shards.urls, SLOT);
  expect(await shardOf(SLOT)).toBe(source);
  await expectNothingLeft();
  expect(await readMoves(directory)).toEqual([]);
  await expect(cancelMove(shards.urls, SLOT)).rejects.toThrow('not on its way');
});

/** As a SIGKILL of the mover would: its sessions end, and with them what they had not committed. */
async function killMovers(): Promise<void> {
  await rows(
    pools[0] as Pool,
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'colloquy shards'`,
  );
}
