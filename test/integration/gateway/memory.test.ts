// A user's memory over the public API, and what turns are told of it; the model and the vectors are twins.
import { Runtime } from '@temporalio/worker';
import { turnLogKey, turnMetaKey } from '../../../contracts/redis-keys.ts';
import type { TurnId } from '../../../contracts/ids.ts';
import { rows } from '../../../postgres/pool.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { hashEmbedder } from '../../helpers/hash-embedder.ts';
import { call, newConversation, resumeTurn, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller, TurnStream } from '../../helpers/turn-client.ts';
import { waitFor } from '../../helpers/wait-for.ts';

interface Fact {
  readonly fact_id: string;
  readonly text: string;
  readonly last_used_at: string | null;
  readonly conversation_id: string | null;
}

let harness: GatewayHarness;
let caller: Caller;
let memory: string;
let stopPool: () => Promise<void>;
let isHeld = false;
let letGo: () => void = () => undefined;
const embedder = hashEmbedder(() =>
  isHeld ? new Promise<void>((resolve) => (letGo = resolve)) : Promise.resolve(),
);

beforeAll(async () => {
  harness = await startGatewayHarness();
  caller = { gateway: await harness.startGateway({ embedder }), token: harness.tokens.paid };
  memory = `/v1/users/${harness.users.paid}/memory`;
  stopPool = await harness.turns.startPool('default', fakeServedModel({ reply: 'Indeed.' }));
}, 60_000);
beforeEach(() => call(caller, 'DELETE', memory));
afterAll(async () => {
  await stopPool();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const change = async (body: object, who = caller): Promise<Fact[]> =>
  (await call(who, 'PATCH', memory, body)).json['facts'] as Fact[];
const listed = async (): Promise<Fact[]> =>
  (await call(caller, 'GET', memory)).json['facts'] as Fact[];
const toldOf = (stream: TurnStream): unknown => stream.events[0]?.data['memory'];

async function whole(conversationId: string, body: object, who = caller): Promise<TurnStream> {
  const stream = await takeTurn(who, conversationId, body);
  await stream.until(({ event }) => event === 'done');
  await stream.ended;
  return stream;
}

describe('the memory routes', () => {
  it('add, edit and remove facts, once each, and forget them all', async () => {
    const added = await change({ add: ['I like tea. ', 'I live in Oslo', 'i LIKE tea'] });
    expect(added.map(({ text }) => text)).toEqual(['I like tea.', 'I live in Oslo']);
    expect(added[0]).toMatchObject({ last_used_at: null, conversation_id: null });
    const [tea, oslo] = added;
    const edited = await change({
      edit: [
        { fact_id: tea?.fact_id, text: 'I like green tea' },
        { fact_id: 'none', text: 'x' },
      ],
      remove: [oslo?.fact_id, 'none'],
    });
    expect(edited).toEqual([{ ...tea, text: 'I like green tea' }]);
    expect(await listed()).toEqual(edited);
    expect((await call(caller, 'DELETE', memory)).status).toBe(204);
    expect(await listed()).toEqual([]);
  });

  it('leave the facts of others alone, whose ids are known or not', async () => {
    const other = { ...caller, token: harness.tokens.enterprise };
    const path = `/v1/users/${harness.users.enterprise}/memory`;
    const theirs = await call(other, 'PATCH', path, { add: ['I like tea'] });
    const [fact] = theirs.json['facts'] as Fact[];
    await change({ edit: [{ fact_id: fact?.fact_id, text: 'mine' }], remove: [fact?.fact_id] });
    expect((await call(other, 'GET', path)).json).toEqual(theirs.json);
    expect((await call(caller, 'DELETE', path)).status).toBe(404);
    await call(other, 'DELETE', path);
  });

  it('switch what is learnt and told, for all conversations and for one, and what is given for training', async () => {
    const settings = `/v1/users/${harness.users.paid}/settings`;
    const first = { memory_enabled: true, training_eligible: false };
    expect((await call(caller, 'GET', settings)).json).toEqual(first);
    expect((await call(caller, 'PATCH', settings, { training_eligible: true })).json).toEqual({
      ...first,
      training_eligible: true,
    });
    const id = await newConversation(caller);
    const conversation = (await call(caller, 'GET', `/v1/conversations/${id}`)).json[
      'conversation'
    ];
    expect(conversation).toMatchObject({ memory_enabled: true, training_eligible: true });
    const off = { memory_enabled: false, training_eligible: false };
    const { json } = await call(caller, 'PATCH', `/v1/conversations/${id}`, off);
    expect(json['conversation']).toMatchObject(off);
    await call(caller, 'PATCH', settings, first);
  });
});

describe('a turn', () => {
  it('is told what belongs to its message, best first, in every telling of its stream', async () => {
    const [tea, oslo] = await change({ add: ['green tea at night', 'the harbour of Oslo'] });
    const id = await newConversation(caller);
    const headers = { 'idempotency-key': 'told' };
    const content = 'which green tea at night';
    const stream = await whole(id, { content }, { ...caller, headers });
    expect(toldOf(stream)).toEqual([tea?.fact_id]);
    const turnId = String(stream.events[0]?.data['turn_id']) as TurnId;
    const [row] = await rows(
      harness.turns.db,
      'select fact_ids from turn_requests where turn_id = $1',
      [turnId],
    );
    expect(row).toEqual({ fact_ids: [tea?.fact_id] });
    const repeated = await whole(id, { content }, { ...caller, headers });
    expect(repeated.events[0]).toEqual(stream.events[0]);
    await harness.turns.redis.del(turnLogKey(turnId), turnMetaKey(turnId));
    const replayed = await resumeTurn(caller, id, turnId, 0);
    await replayed.ended;
    expect(JSON.stringify(replayed.events[0])).toBe(JSON.stringify(stream.events[0]));
    const used = await waitFor('a use is counted', async () =>
      (await listed()).find((each) => each.last_used_at !== null),
    );
    expect(used?.fact_id).toBe(tea?.fact_id);
    expect((await listed()).find(({ fact_id }) => fact_id === oslo?.fact_id)?.last_used_at).toBe(
      null,
    );
  });

  it('that writes a reply again is told the same, but for what was removed since', async () => {
    const [tea, night] = await change({ add: ['green tea', 'green nights'] });
    const id = await newConversation(caller);
    const first = await whole(id, { content: 'green tea or green nights' });
    expect(toldOf(first)).toHaveLength(2);
    const regenerate_of = first.events[0]?.data['turn_id'];
    expect(toldOf(await whole(id, { regenerate_of }))).toEqual(toldOf(first));
    await change({ remove: [night?.fact_id] });
    expect(toldOf(await whole(id, { regenerate_of }))).toEqual([tea?.fact_id]);
  });

  it('shows them in a JSON reply', async () => {
    const [tea] = await change({ add: ['green tea'] });
    const id = await newConversation(caller);
    const response = await fetch(`${caller.gateway}/v1/conversations/${id}/turns`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${caller.token}`,
        'content-type': 'application/json',
        accept: 'application/json',
      },
      body: JSON.stringify({ role: 'user', content: 'green tea' }),
    });
    const json: unknown = await response.json();
    expect(json).toMatchObject({ content: 'Indeed.', memory: [tea?.fact_id] });
  });

  it('is told nothing, and nothing is embedded for it, without facts or with memory switched off', async () => {
    const id = await newConversation(caller);
    await whole(id, { content: 'warm up' });
    const numTexts = embedder.texts.length;
    expect(toldOf(await whole(id, { content: 'green tea' }))).toBeUndefined();
    expect(embedder.texts).toHaveLength(numTexts);
    await change({ add: ['green tea'] });
    expect(toldOf(await whole(id, { content: 'green tea' }))).toHaveLength(1);
    await call(caller, 'PATCH', `/v1/conversations/${id}`, { memory_enabled: false });
    expect(toldOf(await whole(id, { content: 'green tea' }))).toBeUndefined();
    const other = await newConversation(caller);
    const settings = `/v1/users/${harness.users.paid}/settings`;
    await call(caller, 'PATCH', settings, { memory_enabled: false });
    expect(toldOf(await whole(other, { content: 'green tea' }))).toBeUndefined();
    await call(caller, 'PATCH', settings, { memory_enabled: true });
    expect(toldOf(await whole(other, { content: 'green tea' }))).toHaveLength(1);
  });

  it('goes on without facts that do not come in time, and counts it', async () => {
    await change({ add: ['green tea'] });
    const gateway = await harness.startGateway({ embedder, recallMs: 5 });
    const id = await newConversation({ ...caller, gateway });
    isHeld = true;
    const stream = await whole(id, { content: 'green tea' }, { ...caller, gateway });
    isHeld = false;
    letGo();
    expect(toldOf(stream)).toBeUndefined();
    const metrics = await (await fetch(`${gateway}/metrics`)).text();
    expect(metrics).toContain('colloquy_memory_recalls_total{outcome="late"} 1');
  });
});
