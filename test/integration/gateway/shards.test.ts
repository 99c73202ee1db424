// Users on two databases through the public API: their turns, and a move while a reply is on its way.
import { Runtime } from '@temporalio/worker';
import type { UserId } from '../../../contracts/ids.ts';
import { createPool, rows } from '../../../postgres/pool.ts';
import type { Pool } from '../../../postgres/pool.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, takeTurn, textOf } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';

const REPLY = 'stored in its own place';
let harness: GatewayHarness;
let pools: Pool[];
/** On shard 0 and on shard 1, each through a gateway of its own. */
let callers: [Caller, Caller];
let stopPool: () => Promise<void>;
let gate: Promise<void> | null = null;

const userOf = (shard: number): UserId =>
  harness.users[shard === 0 ? 'enterprise' : 'paid'] as UserId;

beforeAll(async () => {
  harness = await startGatewayHarness({ numShards: 2 });
  pools = harness.turns.databaseUrls.map((url) =>
    createPool({ url, poolSize: 2 }, () => undefined),
  );
  for (const shard of [0, 1]) await harness.turns.moveUser(userOf(shard), shard);
  callers = [
    { gateway: await harness.startGateway(), token: harness.tokens.enterprise },
    { gateway: await harness.startGateway(), token: harness.tokens.paid },
  ];
  stopPool = await harness.turns.startPool(
    'default',
    fakeServedModel({
      reply: REPLY,
      beforeToken: (index) =>
        (index === 6 ? gate : null) ?? new Promise((resolve) => setImmediate(resolve)),
    }),
  );
}, 60_000);

afterAll(async () => {
  await stopPool();
  await Promise.all(pools.map((pool) => pool.end()));
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

/** Rows of a conversation on each shard. */
const numTurnsOf = (id: string): Promise<number[]> =>
  Promise.all(
    pools.map(
      async (pool) =>
        (await rows(pool, 'select 1 from turns where conversation_id = $1', [id])).length,
    ),
  );

it.each([0, 1])(
  'a turn of a user on shard %d is streamed, and stored there only',
  async (shard) => {
    const caller = callers[shard] as Caller;
    const id = await newConversation(caller);
    const stream = await takeTurn(caller, id, { content: 'Hello' });
    await stream.ended;
    expect(textOf(stream.events)).toBe(REPLY);
    expect(stream.events.at(-1)).toMatchObject({ event: 'done' });
    expect(await numTurnsOf(id)).toEqual(shard === 0 ? [2, 0] : [0, 2]);
    const { json } = await call(caller, 'GET', '/v1/usage');
    expect(json['completion_tokens']).toBe(REPLY.length);
  },
);

it('a conversation is as absent to a user of the other shard as one that never was', async () => {
  const id = await newConversation(callers[1]);
  const { status, json } = await call(callers[0], 'GET', `/v1/conversations/${id}`);
  expect([status, (json['error'] as { code: string }).code]).toEqual([
    404,
    'conversation_not_found',
  ]);
});

it('a reply goes on while its user moves, and is stored once, where they are now', async () => {
  const [caller] = callers;
  // This gateway has not heard of the move when it is asked next.
  const other = { ...caller, gateway: await harness.startGateway() };
  const id = await newConversation(other);
  let open: () => void = () => undefined;
  gate = new Promise((resolve) => (open = resolve));
  const headers = { 'idempotency-key': 'once' };
  const stream = await takeTurn({ ...caller, headers }, id, { content: 'Hello' });
  await stream.until(({ event }) => event === 'token');
  await harness.turns.moveUser(userOf(0), 1);
  gate = null;
  open();
  await stream.ended;
  expect(textOf(stream.events)).toBe(REPLY);
  expect(stream.events.at(-1)).toMatchObject({ event: 'done', data: { finish_reason: 'stop' } });
  expect(await numTurnsOf(id)).toEqual([0, 2]);
  const again = await takeTurn({ ...other, headers }, id, { content: 'Hello' });
  await again.ended;
  expect(again.events[0]?.data['turn_id']).toBe(stream.events[0]?.data['turn_id']);
  expect(await numTurnsOf(id)).toEqual([0, 2]);
  const [billed, listed] = await Promise.all([
    Promise.all(
      pools.map((pool) => rows(pool, 'select 1 from ledger where conversation_id = $1', [id])),
    ),
    call(other, 'GET', `/v1/conversations/${id}`),
  ]);
  expect(billed.map(({ length }) => length)).toEqual([0, 1]);
  expect(listed.json['turns']).toMatchObject([{ role: 'user' }, { content: REPLY }]);
});
