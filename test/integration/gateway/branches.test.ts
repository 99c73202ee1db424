// Choosing a branch by the public API, and pages that come from the hot cache, on real services with a fake model.
import { Runtime } from '@temporalio/worker';
import { cachedTurnsKey } from '../../../contracts/redis-keys.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller, TurnStream } from '../../helpers/turn-client.ts';

let harness: GatewayHarness;
let caller: Caller;
let other: Caller;
let stopPool: () => Promise<void>;
let held: Promise<void> = Promise.resolve();

beforeAll(async () => {
  harness = await startGatewayHarness();
  const token = harness.tokens.paid;
  caller = { gateway: await harness.startGateway(), token };
  other = { gateway: await harness.startGateway(), token };
  const model = fakeServedModel({ reply: 'a reply', beforeToken: () => held });
  stopPool = await harness.turns.startPool('default', model);
}, 60_000);
afterAll(async () => {
  await stopPool();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

interface Page {
  readonly conversation: { readonly active_turn_id: string };
  readonly turns: readonly {
    readonly turn_id: string;
    readonly parent_turn_id: string | null;
    readonly content: string;
  }[];
  readonly next_cursor: string | null;
}

const pageOf = async (id: string, by = caller, query = ''): Promise<Page> =>
  (await call(by, 'GET', `/v1/conversations/${id}${query}`)).json as unknown as Page;
const choose = (id: string, turnId: string): ReturnType<typeof call> =>
  call(caller, 'PATCH', `/v1/conversations/${id}`, { active_turn_id: turnId });
const turnIdOf = (stream: TurnStream): string => String(stream.events[0]?.data['turn_id']);

async function said(id: string, body: object): Promise<string> {
  const stream = await takeTurn(caller, id, body);
  await stream.ended;
  return turnIdOf(stream);
}

it('goes on with the branch that was chosen: at the last reply below the turn that is named', async () => {
  const id = await newConversation(caller);
  const first = await said(id, { content: 'one' });
  const second = await said(id, { content: 'two' });
  const edited = await said(id, {
    content: 'another one',
    edit_of: (await pageOf(id)).turns[0]?.turn_id,
  });
  expect((await pageOf(id)).conversation.active_turn_id).toBe(edited);
  const chosen = await choose(id, first);
  expect(chosen).toMatchObject({
    status: 200,
    json: { conversation: { active_turn_id: second } },
  });
  const third = await said(id, { content: 'three' });
  const { turns } = await pageOf(id);
  const message = turns.find(({ content }) => content === 'three');
  expect(message?.parent_turn_id).toBe(second);
  expect(turns.find((each) => each.turn_id === third)?.parent_turn_id).toBe(message?.turn_id);
});

it('refuses a turn of another conversation, a message that waits for its reply, and any while one runs', async () => {
  const id = await newConversation(caller);
  const first = await said(id, { content: 'one' });
  const stranger = await said(await newConversation(caller), { content: 'elsewhere' });
  expect(await choose(id, stranger)).toMatchObject({
    status: 404,
    json: { error: { code: 'turn_not_found' } },
  });
  let go: () => void = () => undefined;
  held = new Promise((resolve) => (go = resolve));
  const running = await takeTurn(caller, id, { content: 'two' });
  await running.until(({ event }) => event === 'open');
  expect(await choose(id, first)).toMatchObject({
    status: 409,
    json: { error: { code: 'turn_conflict', turn_id: turnIdOf(running) } },
  });
  go();
  await running.ended;
  expect((await choose(id, first)).status).toBe(200);
  const foreign = await call(
    { ...caller, token: harness.tokens.free },
    'PATCH',
    `/v1/conversations/${id}`,
    { active_turn_id: first },
  );
  expect(foreign).toMatchObject({
    status: 404,
    json: { error: { code: 'conversation_not_found' } },
  });
});

it('accepts one of two turns that two tabs post at the same moment, and tells the other of it', async () => {
  const id = await newConversation(caller);
  const first = await said(id, { content: 'one' });
  let go: () => void = () => undefined;
  held = new Promise((resolve) => (go = resolve));
  const tabs = await Promise.all(
    [caller, other].map((by, tab) => takeTurn(by, id, { content: `of tab ${tab}` })),
  );
  expect(new Set(tabs.map(({ status }) => status))).toEqual(new Set([200, 409]));
  const [winner, loser] = tabs[0]?.status === 200 ? tabs : [...tabs].reverse();
  await winner?.until(({ event }) => event === 'open');
  await loser?.ended;
  expect(JSON.parse(loser?.refusal ?? '{}')).toMatchObject({
    error: { code: 'turn_conflict', turn_id: winner === undefined ? '' : turnIdOf(winner) },
  });
  // Said by its parent it is another branch, if another turn does not run there.
  const same = await takeTurn(other, id, { content: 'again', parent_turn_id: first });
  expect(same.status).toBe(409);
  go();
  await winner?.ended;
  const branch = await takeTurn(other, id, { content: 'again', parent_turn_id: first });
  await branch.ended;
  const parents = (await pageOf(id)).turns.filter(({ parent_turn_id: parent }) => parent === first);
  expect(parents).toHaveLength(2);
});

it('shows the same pages from the cache and from the store, each turn as soon as its stream is done', async () => {
  held = Promise.resolve();
  const id = await newConversation(caller);
  for (const content of ['one', 'two', 'three']) {
    const turnId = await said(id, { content });
    const cached = await pageOf(id);
    expect(cached.turns.at(-1)?.turn_id).toBe(turnId);
    expect(await pageOf(id, other)).toEqual(cached);
    await harness.turns.redis.del(cachedTurnsKey(id as never));
    expect(await pageOf(id, other)).toEqual(cached);
  }
  // Pages of one turn, from the newest on: the first is the cache's, the others are the store's.
  const all = (await pageOf(id)).turns;
  const one: unknown[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Page = await pageOf(
      id,
      caller,
      `?limit=1${cursor === '' ? '' : `&before=${cursor}`}`,
    );
    one.unshift(...page.turns);
    cursor = page.next_cursor;
  }
  expect(one).toEqual(all);
});

it('leaves nothing of a deleted conversation in the cache', async () => {
  const id = await newConversation(caller);
  await said(id, { content: 'secret' });
  await pageOf(id);
  expect((await call(caller, 'DELETE', `/v1/conversations/${id}`)).status).toBe(204);
  const left = await harness.turns.redis.hgetall(cachedTurnsKey(id as never));
  expect(left).toEqual({ gone: '1' });
});
