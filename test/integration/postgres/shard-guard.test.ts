// What a shard refuses, and what its users make of it.
import { newConversationId } from '../../../contracts/ids.ts';
import { findConversation, insertConversation } from '../../../postgres/conversations.ts';
import { createPool, row, rows, transaction } from '../../../postgres/pool.ts';
import type { Pool } from '../../../postgres/pool.ts';
import { guarded } from '../../../postgres/shard-guard.ts';
import { moveSlot } from '../../../postgres/shard-move.ts';
import { connectShards } from '../../../postgres/shard-setup.ts';
import { COPIED_TABLES, LOCAL_TABLES, OWNED_TABLES } from '../../../postgres/shard-tables.ts';
import { slotOf } from '../../../postgres/shard-slots.ts';
import { shardedStores } from '../../../postgres/sharded-stores.ts';
import { singleStore } from '../../../postgres/stores.ts';
import type { Stores } from '../../../postgres/stores.ts';
import { newOwner, userIdIn } from '../../helpers/owners.ts';
import type { Owner } from '../../helpers/owners.ts';
import { createTestShards, openTestStores } from '../../helpers/shards.ts';
import type { TestShards } from '../../helpers/shards.ts';
import { waitFor } from '../../helpers/wait-for.ts';

/** Slots are dealt out in turn: even ones are on shard 0. */
const SLOT = 4;
let shards: TestShards;
let pools: [Pool, Pool];
let stores: Stores;
let owner: Owner;

beforeAll(async () => {
  shards = await createTestShards(2);
  pools = shards.urls.map((url) => createPool({ url, poolSize: 3 }, () => undefined)) as [
    Pool,
    Pool,
  ];
  stores = openTestStores(shards.urls, 3);
  owner = await newOwner(stores.directory, userIdIn(SLOT));
});

afterAll(async () => {
  await Promise.all([stores, ...pools].map((each) => each.end()));
  await shards.drop();
});

const conversation = (): Parameters<typeof insertConversation>[1] => ({
  ...owner,
  conversationId: newConversationId(),
  model: 'colloquy-mini',
  region: 'local',
  systemPrompt: null,
  title: null,
});
const refusal = { cause: expect.objectContaining({ code: 'SH001' }) as unknown };

describe('a shard', () => {
  it('refuses every kind of change to rows of a slot that it does not serve', async () => {
    const [, wrong] = pools;
    await waitFor('the user is known there', () =>
      row(wrong, 'select 1 from users where user_id = $1', [owner.userId]),
    );
    await expect(insertConversation(wrong, conversation())).rejects.toMatchObject(refusal);
    // A copy that a move has not deleted yet.
    await rows(wrong, 'alter table conversations disable trigger guard_slot');
    const left = conversation();
    await insertConversation(wrong, left);
    await rows(wrong, 'alter table conversations enable trigger guard_slot');
    for (const change of ['update conversations set title = null', 'delete from conversations'])
      await expect(
        rows(wrong, `${change} where conversation_id = $1`, [left.conversationId]),
      ).rejects.toMatchObject(refusal);
    await rows(wrong, 'alter table conversations disable trigger guard_slot');
    await rows(wrong, 'delete from conversations where conversation_id = $1', [
      left.conversationId,
    ]);
    await rows(wrong, 'alter table conversations enable trigger guard_slot');
  });

  it('refuses a guarded statement that would find nothing, be it a read', async () => {
    const [, wrong] = pools;
    for (const text of [
      'select 1 from turns where false',
      'with none as (select 1 where false) select * from none',
      'with recursive none as (select 1 where false) select * from none',
      'update turns set content = null where false',
      'delete from turns where false',
      'insert into ledger select * from ledger where false',
    ]) {
      const asked = guarded({ text, values: [] }, SLOT);
      await expect(wrong.query(asked)).rejects.toMatchObject({ code: 'SH001' });
      expect((await pools[0].query(asked)).rowCount).toBe(0);
    }
  });

  it('computes the slot of an owner as this code does', async () => {
    const ids = Array.from({ length: 50 }, () => userIdIn(SLOT + 1)).concat(owner.userId);
    const found = await rows<{ slot: number }>(
      pools[0],
      'select slot_of(id) as slot from unnest($1::uuid[]) with ordinality as t(id, n) order by n',
      [ids],
    );
    expect(found.map(({ slot }) => slot)).toEqual(ids.map(slotOf));
  });

  it('guards rows that know their owner through their conversation only', async () => {
    for (const pool of pools) {
      await rows(pool, 'create table notes (conversation_id uuid, n integer)');
      await rows(
        pool,
        `create trigger guard_slot before insert or update or delete on notes
         for each row execute function guard_row_of_conversation('notes', 'conversation_id,n')`,
      );
    }
    const own = conversation();
    await insertConversation(pools[0], own);
    const note = 'insert into notes values ($1, 1)';
    await rows(pools[0], note, [own.conversationId]);
    await rows(pools[0], `update shard_slots set state = 'copied' where slot = $1`, [SLOT]);
    await rows(pools[0], note, [own.conversationId]);
    expect(await rows(pools[0], 'delete from slot_changes returning table_name, key')).toEqual([
      { table_name: 'notes', key: { n: 1, conversation_id: own.conversationId } },
    ]);
    await rows(pools[0], `update shard_slots set state = 'left' where slot = $1`, [SLOT]);
    await expect(rows(pools[0], note, [own.conversationId])).rejects.toMatchObject(refusal);
    await rows(pools[0], `update shard_slots set state = 'owned' where slot = $1`, [SLOT]);
    for (const pool of pools) await rows(pool, 'drop table notes');
  });
});

describe('sharded stores', () => {
  it('say so within a bound when no shard serves a slot', async () => {
    await rows(pools[0], `update shard_slots set state = 'left' where slot = $1`, [SLOT]);
    const since = performance.now();
    await expect(
      findConversation(stores.primaryOf(owner.userId), owner.userId, newConversationId()),
    ).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', ...refusal });
    expect(performance.now() - since).toBeLessThan(2500);
    await rows(pools[0], `update shard_slots set state = 'owned' where slot = $1`, [SLOT]);
  });

  it('keep a slot in its place for as long as a transaction holds it', async () => {
    const own = conversation();
    let moving: Promise<unknown> = Promise.resolve();
    await transaction(stores.primaryOf(owner.userId), async (client) => {
      await insertConversation(client, own);
      moving = moveSlot(shards.urls, SLOT, 1, { graceMs: 0 });
      await waitFor('the mover waits', () =>
        row(pools[0], `select 1 from pg_locks where locktype = 'advisory' and not granted`),
      );
    });
    await moving;
    expect(await findConversation(pools[1], owner.userId, own.conversationId)).not.toBeNull();
    // These stores do not know it yet: the transaction is led to the other shard.
    const later = conversation();
    await transaction(stores.primaryOf(owner.userId), (client) =>
      insertConversation(client, later),
    );
    expect(await findConversation(pools[1], owner.userId, later.conversationId)).not.toBeNull();
    await moveSlot(shards.urls, SLOT, 0, { graceMs: 0 });
  });

  it('do not believe a replica of a shard that the slot has left', async () => {
    const replica = createPool({ url: shards.urls[0] ?? '', poolSize: 1 }, () => undefined);
    const numRead = { of: 0 };
    const [first, second] = shards.urls.map((url) =>
      singleStore(createPool({ url, poolSize: 2 }, () => undefined)),
    ) as [Stores, Stores];
    const withReplica: Stores = {
      ...first,
      readerOf: async () => {
        numRead.of += 1;
        return replica;
      },
    };
    const sharded = shardedStores([withReplica, second], () => undefined);
    const other = await newOwner(stores.directory, userIdIn(SLOT + 2));
    const own = { ...conversation(), ...other };
    await insertConversation(sharded.primaryOf(other.userId), own);
    const read = async (): Promise<unknown> =>
      findConversation(
        await sharded.readerOf(other.userId, own.conversationId),
        other.userId,
        own.conversationId,
      );
    expect(await read()).not.toBeNull();
    expect(numRead.of).toBe(1);
    // Asked of the replica before the move is known here, answered after its rows are gone.
    const reader = await sharded.readerOf(other.userId, own.conversationId);
    await moveSlot(shards.urls, SLOT + 2, 1, { graceMs: 0 });
    expect(await findConversation(reader, other.userId, own.conversationId)).not.toBeNull();
    // And for a while a replica of the new place is not asked: what is known of its lag was the old one's.
    await moveSlot(shards.urls, SLOT + 2, 0, { graceMs: 0 });
    await waitFor('the move is known', async () => {
      const before = numRead.of;
      await read();
      return numRead.of === before;
    });
    await Promise.all([sharded.end(), replica.end()]);
  });
});

describe('shards', () => {
  it('know the place of every table: the schema has no other', async () => {
    const found = await rows<{ name: string }>(
      pools[0],
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace
         and relkind in ('r', 'p') and not relispartition order by relname`,
    );
    const placed = [...OWNED_TABLES.map(({ name }) => name), ...COPIED_TABLES, ...LOCAL_TABLES];
    expect(found.map(({ name }) => name)).toEqual(placed.toSorted());
  });

  it('guard every partition, those made later too', async () => {
    await rows(pools[1], `select create_turn_partitions(now() + interval '3 years', 0)`);
    const found = await rows(
      pools[1],
      `select c.relname from pg_class c where c.relispartition and c.relkind = 'r' and not exists (
         select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'guard_slot' and t.tgenabled = 'O')`,
    );
    expect(found).toEqual([]);
  });

  it('may be connected again and again, and not by fewer than the map names', async () => {
    await connectShards(shards.urls);
    await expect(connectShards(shards.urls.slice(0, 1))).rejects.toThrow('names shard 1');
  });
});
