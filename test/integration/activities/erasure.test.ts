// True deletion by its workflows, on the real stores: what is left, and what is not touched.
import { randomUUID } from 'node:crypto';
import { Runtime } from '@temporalio/worker';
import { cachedTurnsKey, turnLogKey, userKeys } from '../../../contracts/redis-keys.ts';
import type { ErasureResult } from '../../../contracts/erasure.ts';
import type { ConversationId, TurnId, UserId } from '../../../contracts/ids.ts';
import {
  CONVERSATION_TABLES,
  UNLINKED_TABLES,
  USER_TABLES,
} from '../../../postgres/owned-tables.ts';
import { row, rows } from '../../../postgres/pool.ts';
import { createExecutions } from '../../../process/executions.ts';
import { runBackground, startBackground } from '../../helpers/background-harness.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';
import { waitFor } from '../../helpers/wait-for.ts';

let harness: GatewayHarness;
let gateway: string;
let stops: (() => Promise<void>)[];

beforeAll(async () => {
  harness = await startGatewayHarness();
  gateway = await harness.startGateway();
  stops = [
    await harness.turns.startPool('default', fakeServedModel({ reply: 'an answer' })),
    await startBackground(harness.turns),
  ];
}, 60_000);
afterAll(async () => {
  for (const stop of stops) await stop();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const caller = (who: 'paid' | 'enterprise' | 'admin'): Caller => ({
  gateway,
  token: harness.tokens[who],
});

/** A conversation with a stored turn; resolves with its id and the turn's. */
async function talk(who: 'paid' | 'enterprise'): Promise<{ id: string; turnId: string }> {
  const id = await newConversation(caller(who));
  const stream = await takeTurn(caller(who), id, { content: 'something private' });
  await stream.ended;
  const done = stream.events.find(({ event }) => event === 'done');
  expect(done).toBeDefined();
  return { id, turnId: String(done?.data['turn_id']) };
}

const countBy = async (table: string, column: string, id: string): Promise<number> =>
  (
    await row<{ n: number }>(
      harness.turns.db,
      `select count(*) as n from ${table} where ${column} = $1`,
      [id],
    )
  )?.n ?? -1;

const executionsOf = async (id: string): Promise<number> =>
  (await createExecutions(harness.turns.dispatch.client).find(`turn/${id}`, 10)).length;

describe('the tables of owners', () => {
  it('are all in the list by which rows are deleted', async () => {
    const tablesWith = async (column: string): Promise<string[]> =>
      (
        await rows<{ name: string }>(
          harness.turns.db,
          `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
             and a.attname = $1 and not a.attisdropped order by 1`,
          [column],
        )
      ).map(({ name }) => name);
    const ofConversations = CONVERSATION_TABLES.map(({ table }) => table);
    expect(await tablesWith('conversation_id')).toEqual(
      ['conversations', ...ofConversations, ...UNLINKED_TABLES].toSorted(),
    );
    const withUser = CONVERSATION_TABLES.filter(({ hasUser }) => hasUser).map(({ table }) => table);
    expect(await tablesWith('user_id')).toEqual(
      [
        'api_keys',
        'conversations',
        'users',
        ...withUser,
        ...USER_TABLES,
        ...UNLINKED_TABLES,
      ].toSorted(),
    );
  });
});

describe('deleting a conversation', () => {
  it('leaves no row, log, cached entry or execution of it, and all of its neighbour', async () => {
    const gone = await talk('paid');
    const kept = await talk('paid');
    const { db, redis } = harness.turns;
    const cached = cachedTurnsKey(gone.id as ConversationId);
    await redis.hset(cached, 'version', '1');
    await rows(
      db,
      `with facts as (
         insert into user_memory (user_id, fact_id, text, source_turn_id)
         values ($1, uuidv7(), 'learnt', $2), ($1, uuidv7(), 'kept', null) returning fact_id, source_turn_id
       )
       insert into memory_sources (user_id, source_turn_id, conversation_id, text_hash, fact_id)
       select $1, source_turn_id, $3, '', fact_id from facts where source_turn_id is not null`,
      [harness.users.paid, gone.turnId, gone.id],
    );
    expect(await executionsOf(gone.id)).toBe(1);
    expect(await call(caller('paid'), 'DELETE', `/v1/conversations/${gone.id}`)).toMatchObject({
      status: 204,
    });
    // At once for who asks; the rest a moment later.
    expect(await countBy('turns', 'conversation_id', gone.id)).toBe(0);
    await waitFor(
      'it is recorded',
      async () => (await countBy('erasures', 'subject_id', gone.id)) === 1,
    );
    for (const table of ['conversations', ...CONVERSATION_TABLES.map(({ table }) => table)])
      expect(await countBy(table, 'conversation_id', gone.id)).toBe(0);
    expect(await countBy('user_memory', 'source_turn_id', gone.turnId)).toBe(0);
    expect(await countBy('user_memory', 'user_id', harness.users.paid)).toBe(1);
    expect(await redis.exists(turnLogKey(gone.turnId as TurnId))).toBe(0);
    expect(await redis.hget(cached, 'version')).toBeNull();
    // Temporal deletes a closed execution when its queues have moved on, up to a minute later: prove-deletion waits for it.
    const recorded = await row<{ counts: object }>(
      harness.turns.db,
      'select counts from erasures where subject_id = $1',
      [gone.id],
    );
    expect(recorded?.counts).toMatchObject({ executions: 1 });
    expect(await executionsOf(kept.id)).toBe(1);
    expect(await countBy('turns', 'conversation_id', kept.id)).toBe(2);
    expect(await countBy('ledger', 'conversation_id', gone.id)).toBe(1);
  }, 30_000);

  it('ends a turn that runs, for its reader too, and stores nothing of it afterwards', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const stop = await harness.turns.startPool(
      'mini',
      fakeServedModel({
        reply: 'x'.repeat(30),
        beforeToken: (index) => (index < 3 ? Promise.resolve() : held),
      }),
    );
    const { json } = await call(caller('paid'), 'POST', '/v1/conversations', {
      model: 'colloquy-mini',
    });
    const id = String(json['conversation_id']);
    const stream = await takeTurn(caller('paid'), id, { content: 'go on and on' });
    try {
      await stream.until(({ event }) => event === 'token');
      await call(caller('paid'), 'DELETE', `/v1/conversations/${id}`);
      await stream.ended;
      expect(stream.events.at(-1)).toMatchObject({
        event: 'done',
        data: { finish_reason: 'cancelled' },
      });
      await waitFor(
        'it is recorded',
        async () => (await countBy('erasures', 'subject_id', id)) === 1,
      );
    } finally {
      release();
      await stop();
    }
    for (const table of ['conversations', 'turns', 'turn_requests'])
      expect(await countBy(table, 'conversation_id', id)).toBe(0);
  }, 30_000);

  it('may be repeated: the second time finds nothing and counts nothing', async () => {
    const { id } = await talk('paid');
    const erasure = { userId: harness.users.paid, conversationId: id };
    const first = await runBackground(harness.turns, 'eraseConversation', erasure);
    expect(first).toMatchObject({ conversations: 1, executions: 1 });
    const second = await runBackground(harness.turns, 'eraseConversation', erasure);
    expect(second).toMatchObject({ conversations: 0, rows: 0 });
  }, 30_000);
});

describe('deleting a user', () => {
  it('lets nobody in at once, leaves nothing, and proves it by counts', async () => {
    const userId = harness.users.enterprise as UserId;
    const talks = [await talk('enterprise'), await talk('enterprise'), await talk('enterprise')];
    const neighbour = await talk('paid');
    await call(caller('enterprise'), 'PATCH', `/v1/users/${userId}/memory`, { add: ['a fact'] });
    const { db, redis, dispatch } = harness.turns;
    const [org] = await rows<{ org_id: string }>(
      db,
      'select org_id from users where user_id = $1',
      [userId],
    );
    // A member cannot, an administrator of the organisation can.
    expect(await call(caller('paid'), 'DELETE', `/v1/users/${userId}`)).toMatchObject({
      status: 404,
    });
    expect(await call(caller('admin'), 'DELETE', `/v1/users/${randomUUID()}`)).toMatchObject({
      status: 404,
    });
    expect(await call(caller('admin'), 'DELETE', `/v1/users/${userId}`)).toMatchObject({
      status: 202,
      json: { user_id: userId, status: 'deleting' },
    });
    const result = (await dispatch.client.workflow
      .getHandle(`erase/user/${userId}`)
      .result()) as ErasureResult;
    expect(result.erased).toMatchObject({ conversations: 3, executions: 3 });
    expect(result.left).toEqual({ conversations: 0, rows: 0, keys: 0, executions: 0 });
    const refused = await call(caller('enterprise'), 'GET', '/v1/conversations');
    expect(refused.status).toBe(401);
    for (const table of [
      'users',
      'api_keys',
      'conversations',
      'turns',
      'turn_requests',
      'user_memory',
      'ledger',
    ])
      expect(await countBy(table, 'user_id', userId)).toBe(0);
    for (const { id } of talks) expect(await countBy('ledger', 'conversation_id', id)).toBe(0);
    for (const key of userKeys(userId)) expect(await redis.exists(key)).toBe(0);
    // The books stay, without whose they were.
    const billed = await row<{ n: number }>(
      db,
      `select count(*) as n from ledger l where org_id = $1 and user_id = conversation_id
         and not exists (select from users u where u.user_id = l.user_id)`,
      [org?.org_id],
    );
    expect(billed?.n).toBe(3);
    expect(await countBy('turns', 'conversation_id', neighbour.id)).toBe(2);
  }, 60_000);
});

describe('deleting an organisation', () => {
  it('takes every user of it, and no one else', async () => {
    const { db } = harness.turns;
    const [org] = await rows<{ org_id: string }>(
      db,
      `insert into organisations (name) values ('leaving') returning org_id`,
    );
    for (const name of ['a', 'b'])
      await rows(
        db,
        `with made as (insert into users (org_id, name, tier) values ($1, $2, 'paid') returning user_id)
         insert into conversations (conversation_id, user_id, org_id, model, region) select uuidv7(), user_id, $1, 'm', 'r' from made`,
        [org?.org_id, name],
      );
    const before = await countBy('users', 'user_id', harness.users.paid);
    const result = await runBackground<ErasureResult>(harness.turns, 'eraseOrganisation', {
      orgId: org?.org_id,
    });
    expect(result.erased).toMatchObject({ conversations: 2 });
    expect(result.left).toMatchObject({ rows: 0 });
    for (const table of ['organisations', 'users', 'conversations'])
      expect(await countBy(table, 'org_id', org?.org_id ?? '')).toBe(0);
    expect(await countBy('users', 'user_id', harness.users.paid)).toBe(before);
  }, 60_000);
});
