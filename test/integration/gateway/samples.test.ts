// Several replies to one request through the public API, on real services; only the model is fake.
import { Runtime } from '@temporalio/worker';
import { loadCatalog } from '../../../contracts/catalog.ts';
import type { TurnId } from '../../../contracts/ids.ts';
import { sampleTurnIds } from '../../../contracts/samples.ts';
import { projectPath } from '../../../process/paths.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, resumeTurn, takeTurn, textOf } from '../../helpers/turn-client.ts';
import type { Caller, ReceivedEvent, TurnStream } from '../../helpers/turn-client.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const SEED = 40;
const REPLIES = ['one – 👍', 'two, which is a good deal longer', 'three'];
const ASKED = { content: 'Hello', n: 3, seed: SEED };
let harness: GatewayHarness;
let caller: Caller;
let other: Caller;
let model: ReturnType<typeof fakeServedModel>;
let stopPool: () => Promise<void>;
let gate: Promise<void> | null = null;

beforeAll(async () => {
  harness = await startGatewayHarness();
  const token = harness.tokens.paid;
  caller = { gateway: await harness.startGateway(), token };
  other = { gateway: await harness.startGateway(), token };
  model = fakeServedModel({
    reply: (seed) => REPLIES[seed - SEED] ?? 'another',
    beforeToken: (index, sample) =>
      (sample === 1 && index === 6 ? gate : null) ??
      new Promise((resolve) => setImmediate(resolve)),
  });
  stopPool = await harness.turns.startPool('default', model);
}, 60_000);
afterAll(async () => {
  await stopPool();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const ofReply = (events: readonly ReceivedEvent[], index: number): string =>
  textOf(events.filter(({ data }) => data['index'] === index));
const textsOf = (events: readonly ReceivedEvent[]): string[] =>
  REPLIES.map((_, index) => ofReply(events, index));
const turnIdOf = (stream: TurnStream): TurnId => stream.events[0]?.data['turn_id'] as TurnId;
const turnsOf = async (id: string): Promise<Record<string, unknown>[]> =>
  (await call(caller, 'GET', `/v1/conversations/${id}`)).json['turns'] as Record<string, unknown>[];

async function take(id: string, body: object = ASKED): Promise<TurnStream> {
  const stream = await takeTurn(caller, id, body);
  await stream.ended;
  return stream;
}

/** A turn whose second reply is held after some tokens. */
async function hold(id: string): Promise<{ stream: TurnStream; open: () => void }> {
  let open: () => void = () => undefined;
  gate = new Promise((resolve) => (open = resolve));
  const stream = await takeTurn(caller, id, ASKED);
  await stream.until(({ data }) => data['index'] === 1);
  return { stream, open };
}

describe('POST turns with n', () => {
  it('streams each text under its index, and one done for each once all are stored', async () => {
    const id = await newConversation(caller);
    const stream = await takeTurn(caller, id, ASKED);
    await stream.until(({ event }) => event === 'done');
    const turns = await turnsOf(id);
    await stream.ended;
    const ids = sampleTurnIds(turnIdOf(stream), 3);
    expect(stream.events[0]).toMatchObject({ event: 'open', data: { turn_ids: ids } });
    expect(textsOf(stream.events)).toEqual(REPLIES);
    expect(stream.events.slice(-3)).toMatchObject(
      ids.map((turn_id, index) => ({
        event: 'done',
        data: { index, turn_id, finish_reason: 'stop' },
      })),
    );
    expect(stream.events.filter(({ event }) => event === 'done')).toHaveLength(3);
    expect(turns).toMatchObject([
      { role: 'user', content: 'Hello' },
      ...REPLIES.map((content, index) => ({
        role: 'assistant',
        turn_id: ids[index],
        index,
        content,
        parent_turn_id: turns[0]?.['turn_id'],
      })),
    ]);
  });

  it('says nothing of an index when one reply is asked for', async () => {
    for (const body of [{ content: 'x' }, { content: 'x', n: 1 }]) {
      const id = await newConversation(caller);
      const { events } = await take(id, { ...body, seed: SEED });
      expect(textOf(events)).toBe(REPLIES[0]);
      expect(JSON.stringify([events, await turnsOf(id)])).not.toMatch(/"index"|turn_ids/);
    }
  });

  it('answers one JSON object with all replies and the usage of all', async () => {
    const id = await newConversation(caller);
    const response = await fetch(`${caller.gateway}/v1/conversations/${id}/turns`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${caller.token}`,
        'content-type': 'application/json',
        accept: 'application/json',
      },
      body: JSON.stringify({ role: 'user', ...ASKED }),
    });
    const reply = (await response.json()) as Record<string, unknown>;
    const numTokens = REPLIES.map((each) => [...each].length);
    expect(reply).toMatchObject({
      content: REPLIES[0],
      finish_reason: 'stop',
      usage: { completion_tokens: numTokens.reduce((sum, each) => sum + each) },
      samples: REPLIES.map((content, index) => ({
        index,
        content,
        finish_reason: 'stop',
        usage: { completion_tokens: numTokens[index] },
      })),
    });
    expect((reply['samples'] as { turn_id: string }[])[0]?.turn_id).toBe(reply['turn_id']);
  });

  it.each([0, 5, 1.5, '2'])('refuses n = %p', async (n) => {
    const id = await newConversation(caller);
    expect(
      await call(caller, 'POST', `/v1/conversations/${id}/turns`, { role: 'user', ...ASKED, n }),
    ).toMatchObject({ status: 400, json: { error: { param: 'n' } } });
  });

  it('adds what all of its replies used to the ledger, once', async () => {
    const before = (await call(caller, 'GET', '/v1/usage')).json;
    const { events } = await take(await newConversation(caller));
    const after = (await call(caller, 'GET', '/v1/usage')).json;
    const used = events.flatMap(({ event, data }) =>
      event === 'done' ? [data['usage'] as Record<string, number>] : [],
    );
    for (const field of ['prompt_tokens', 'completion_tokens', 'cached_tokens', 'cost_usd']) {
      const sum = used.reduce((total, each) => total + (each[field] ?? NaN), 0);
      expect(Number(after[field]) - Number(before[field])).toBeCloseTo(sum, 9);
    }
  });

  it('reserves room for every reply, and gives back what none of them used', async () => {
    const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
    const paid = { ...catalog.tiers.paid, tokens_per_minute: 1000 };
    const tight = { ...catalog, tiers: { ...catalog.tiers, paid } };
    const token = harness.tokens.enterprise;
    const enterprise = { ...catalog.tiers.enterprise, tokens_per_minute: 1000 };
    const limited = {
      gateway: await harness.startGateway({
        catalog: { ...tight, tiers: { ...tight.tiers, enterprise } },
      }),
      token,
    };
    const id = await newConversation(limited);
    const stop = await harness.turns.startPool('mini', model);
    const left = async (n: number): Promise<number> => {
      const response = await fetch(`${limited.gateway}/v1/conversations/${id}/turns`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ role: 'user', content: 'abc', n, seed: SEED, max_tokens: 200 }),
      });
      await response.text();
      return Number(response.headers.get('x-ratelimit-remaining-tokens'));
    };
    const one = await left(1);
    // Settling is the workflow's last step, after the reader has its end.
    await waitFor('what the first turn did not use is back', async () => {
      const response = await fetch(`${limited.gateway}/v1/usage`, {
        headers: { authorization: `Bearer ${token}` },
      });
      await response.text();
      return Number(response.headers.get('x-ratelimit-remaining-tokens')) > 1000 - 100;
    });
    const three = await left(3);
    await stop();
    // 1 token of content and 200 of each reply.
    expect(one).toBe(1000 - 201);
    expect(three).toBeGreaterThan(1000 - 601 - 100);
    expect(three).toBeLessThanOrEqual(1000 - 601 + 20);
  });

  it('gives a repeated Idempotency-Key the same replies, and refuses another n under it', async () => {
    const id = await newConversation(caller);
    const ask = (from: Caller, body: object = ASKED): Promise<TurnStream> =>
      takeTurn({ ...from, headers: { 'idempotency-key': 'samples-1' } }, id, body);
    const all = await Promise.all([ask(caller), ask(other), ask(caller)]);
    await Promise.all(all.map((stream) => stream.ended));
    const late = await ask(other);
    await late.ended;
    expect(new Set([...all, late].map(turnIdOf)).size).toBe(1);
    for (const { events } of [...all, late]) expect(textsOf(events)).toEqual(REPLIES);
    expect(await turnsOf(id)).toHaveLength(4);
    expect((await ask(caller, { ...ASKED, n: 2 })).status).toBe(409);
  });
});

describe('the replies of a turn', () => {
  it('can be resumed at every entry: from the log, at another gateway, and from the store', async () => {
    const id = await newConversation(caller);
    const live = await take(id);
    const turnId = turnIdOf(live);
    for (const source of ['log', 'store']) {
      if (source === 'store') await harness.turns.turnLog.remove(turnId);
      for (const after of [0, ...live.events.map((event) => event.id)]) {
        const replay = await resumeTurn(other, id, turnId, after);
        await replay.ended;
        const before = live.events.filter((event) => event.id <= after);
        expect(textsOf([...before, ...replay.events])).toEqual(REPLIES);
        expect(replay.events.every((event) => event.id > after)).toBe(true);
        const done = live.events.filter(({ event }) => event === 'done');
        expect(replay.events.filter(({ event }) => event === 'done')).toEqual(
          done.filter((event) => event.id > after),
        );
      }
    }
    const [first] = (await resumeTurn(other, id, turnId, 0)).events;
    expect(first).toEqual(live.events[0]);
  });

  it('have one stream under all of their ids, while they run and afterwards', async () => {
    const id = await newConversation(caller);
    const { stream, open } = await hold(id);
    const ids = sampleTurnIds(turnIdOf(stream), 4);
    const readers = await Promise.all(
      ids.slice(0, 3).map((turnId) => resumeTurn(other, id, turnId, 0)),
    );
    expect((await resumeTurn(other, id, ids[3] ?? '', 0)).status).toBe(404);
    open();
    await Promise.all([stream, ...readers].map(({ ended }) => ended));
    for (const { events } of readers) expect(textsOf(events)).toEqual(REPLIES);
    const late = await resumeTurn(other, id, ids[2] ?? '', 0);
    await late.ended;
    expect(textsOf(late.events)).toEqual(REPLIES);
  });

  it('are cancelled together, under any of their ids, and keep what was delivered', async () => {
    const id = await newConversation(caller);
    const { stream, open } = await hold(id);
    const [, second = ''] = sampleTurnIds(turnIdOf(stream), 3);
    const answer = await call(caller, 'POST', `/v1/conversations/${id}/cancel`, {
      turn_id: second,
    });
    await stream.ended;
    open();
    expect(answer.status).toBe(204);
    const done = stream.events.filter(({ event }) => event === 'done');
    expect(done[1]).toMatchObject({ data: { index: 1, finish_reason: 'cancelled' } });
    expect((await turnsOf(id)).slice(1)).toMatchObject(
      REPLIES.map((_, index) => ({
        content: ofReply(stream.events, index),
        finish_reason: done[index]?.data['finish_reason'],
      })),
    );
  });

  it('can each be continued, regenerated and paged through', async () => {
    const id = await newConversation(caller);
    const live = await take(id);
    const [, second = '', third = ''] = sampleTurnIds(turnIdOf(live), 3);
    await take(id, { content: 'go on', parent_turn_id: second });
    expect(model.engine.requests.at(-1)?.promptTokenIds).toEqual(
      expect.arrayContaining([...(REPLIES[1] ?? '')].map((each) => each.codePointAt(0))),
    );
    const again = await take(id, { regenerate_of: third, n: 2, seed: SEED });
    const turns = await turnsOf(id);
    const userTurn = turns[0]?.['turn_id'];
    const siblings = turns.filter((turn) => turn['parent_turn_id'] === userTurn);
    expect(siblings.map((turn) => turn['replaces_turn_id'])).toEqual([
      null,
      null,
      null,
      third,
      third,
    ]);
    expect(siblings.slice(-2).map((turn) => turn['turn_id'])).toEqual(
      sampleTurnIds(turnIdOf(again), 2),
    );
    const paged: unknown[] = [];
    for (let before = ''; ;) {
      const page = await call(
        caller,
        'GET',
        `/v1/conversations/${id}?limit=2${before === '' ? '' : `&before=${before}`}`,
      );
      const { turns: some, next_cursor: next } = page.json as {
        turns: Record<string, unknown>[];
        next_cursor: string | null;
      };
      paged.unshift(...some.map((turn) => turn['turn_id']));
      if (next === null) break;
      before = next;
    }
    expect(paged).toEqual(turns.map((turn) => turn['turn_id']));
  });

  it('end with one done each when their conversation is deleted while they run', async () => {
    const id = await newConversation(caller);
    const { stream, open } = await hold(id);
    expect((await call(caller, 'DELETE', `/v1/conversations/${id}`)).status).toBe(204);
    await stream.ended;
    open();
    const done = stream.events.filter(({ event }) => event === 'done');
    // The others may have come to their ends before.
    expect(done[1]).toMatchObject({ data: { index: 1, finish_reason: 'cancelled' } });
    expect(done).toMatchObject([0, 1, 2].map((index) => ({ data: { index } })));
    expect(done).toHaveLength(3);
  });
});
