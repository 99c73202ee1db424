// The public API's turns on real services; only the model is fake.
import { Runtime } from '@temporalio/worker';
import { loadCatalog } from '../../../contracts/catalog.ts';
import { turnBody } from '../../../contracts/api.ts';
import { AppError } from '../../../contracts/errors.ts';
import { newTurnId } from '../../../contracts/ids.ts';
import type { OrgId, TurnId, UserId } from '../../../contracts/ids.ts';
import type { TurnInput } from '../../../contracts/turn-workflow.ts';
import { planTurn } from '../../../gateway/turn-request.ts';
import type { PlannedTurn } from '../../../gateway/turn-request.ts';
import { findConversationWithRunning } from '../../../postgres/conversations.ts';
import { rows } from '../../../postgres/pool.ts';
import { acceptTurn, withdrawRequest } from '../../../postgres/turn-requests.ts';
import { projectPath } from '../../../process/paths.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, resumeTurn, takeTurn, textOf } from '../../helpers/turn-client.ts';
import type { Caller, TurnStream } from '../../helpers/turn-client.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const REPLY = 'The sea – «ü» 👍 is wide.';
let harness: GatewayHarness;
let caller: Caller;
let other: Caller;
let model: ReturnType<typeof fakeServedModel>;
/** Of the pool `mini`, which has no worker but in tests that start one. */
const mini = fakeServedModel({ reply: REPLY });
let stopPool: () => Promise<void>;
/** Opened to let the held model go on; held again by a test that needs a running turn. */
let gate = { promise: Promise.resolve(), open: (): void => undefined };

function hold(): void {
  let open: () => void = () => undefined;
  gate = { promise: new Promise<void>((resolve) => (open = resolve)), open };
  gate.open = open;
}

beforeAll(async () => {
  harness = await startGatewayHarness();
  const token = harness.tokens.paid;
  caller = { gateway: await harness.startGateway(), token };
  other = { gateway: await harness.startGateway(), token };
  const beforeToken = (index: number): Promise<void> =>
    index === 6 ? gate.promise : new Promise((resolve) => setImmediate(resolve));
  model = fakeServedModel({ reply: REPLY, beforeToken });
  stopPool = await harness.turns.startPool('default', model);
}, 60_000);
afterEach(() => gate.open());
afterAll(async () => {
  await stopPool();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const turnIdOf = (stream: TurnStream): string => String(stream.events[0]?.data['turn_id']);
const turnsOf = async (id: string): Promise<Record<string, unknown>[]> =>
  (await call(caller, 'GET', `/v1/conversations/${id}`)).json['turns'] as Record<string, unknown>[];

/** A turn that is held after some tokens. */
async function running(
  conversationId: string,
  body: object = { content: 'hold' },
): Promise<TurnStream> {
  hold();
  const stream = await takeTurn(caller, conversationId, body);
  await stream.until(({ event }) => event === 'token');
  return stream;
}

/** A continuation of a conversation as of now, planned and not accepted. */
async function planned(conversationId: string): Promise<PlannedTurn> {
  const { db } = harness.turns;
  const principal = {
    userId: harness.users.paid as UserId,
    orgId: '' as OrgId,
    tier: 'paid',
    role: 'member',
  } as const;
  const found = await findConversationWithRunning(db, principal.userId, conversationId as never);
  if (found === null) throw new Error('There is no such conversation.');
  const body = turnBody.parse({ role: 'user', content: 'planned' });
  const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
  return planTurn(db, catalog, { body, idempotencyKey: null, principal, ...found });
}

async function lastRequest(conversationId: string): Promise<{ turn_id: TurnId }> {
  const sql =
    'select turn_id from turn_requests where conversation_id = $1 order by turn_id desc limit 1';
  const [found] = await rows<{ turn_id: TurnId }>(harness.turns.db, sql, [conversationId]);
  if (found === undefined) throw new Error('There is no request.');
  return found;
}

describe('POST turns', () => {
  it('streams open, the text and one done, and has stored both turns by then', async () => {
    const id = await newConversation(caller);
    const stream = await takeTurn(caller, id, { content: 'Hello' });
    await stream.until(({ event }) => event === 'done');
    const turns = await turnsOf(id);
    await stream.ended;
    expect(stream.events[0]).toMatchObject({
      id: 1,
      event: 'open',
      data: { conversation_id: id, pool: 'default' },
    });
    expect(textOf(stream.events)).toBe(REPLY);
    expect(stream.events.at(-1)).toMatchObject({ event: 'done', data: { finish_reason: 'stop' } });
    expect(turns).toMatchObject([
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: REPLY, turn_id: turnIdOf(stream) },
    ]);
  });

  it('answers one JSON object to who asks for it', async () => {
    const id = await newConversation(caller);
    const response = await fetch(`${caller.gateway}/v1/conversations/${id}/turns`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${caller.token}`,
        'content-type': 'application/json',
        accept: 'application/json',
      },
      body: JSON.stringify({ role: 'user', content: 'Hello' }),
    });
    expect(await response.json()).toMatchObject({
      conversation_id: id,
      content: REPLY,
      finish_reason: 'stop',
      usage: { completion_tokens: [...REPLY].length },
    });
  });

  it.each([
    [
      'those that were asked for',
      {
        temperature: 0.5,
        top_p: 0.5,
        top_k: 40,
        min_p: 0.1,
        repetition_penalty: 1.2,
        frequency_penalty: -2,
        presence_penalty: 2,
        logit_bias: { '5': -100, '28': 1.5 },
        seed: 9,
      },
      {
        temperature: 0.5,
        topP: 0.5,
        topK: 40,
        minP: 0.1,
        repetitionPenalty: 1.2,
        frequencyPenalty: -2,
        presencePenalty: 2,
        logitBias: [
          [5, -100],
          [28, 1.5],
        ],
        seed: 9,
      },
    ],
    [
      'none but the defaults',
      {},
      {
        temperature: 0.7,
        topP: 0.95,
        topK: 0,
        minP: 0,
        repetitionPenalty: 1,
        frequencyPenalty: 0,
        presencePenalty: 0,
        logitBias: [],
        seed: expect.any(Number) as number,
      },
    ],
  ])(
    'stores the sampling parameters and hands them to the engine: %s',
    async (_name, asked, expected) => {
      const id = await newConversation(caller);
      const stream = await takeTurn(caller, id, { content: 'Hello', ...asked });
      await stream.ended;
      const sql = 'select params from turn_requests where conversation_id = $1';
      expect(await rows(harness.turns.db, sql, [id])).toMatchObject([{ params: expected }]);
      expect(model.engine.lastSampling).toEqual(expected);
    },
  );

  it('gives a repeated Idempotency-Key the same turn: in parallel, afterwards, and from another gateway', async () => {
    const id = await newConversation(caller);
    const ask = (from: Caller, body: object = { content: 'once' }): Promise<TurnStream> =>
      takeTurn({ ...from, headers: { 'idempotency-key': 'key-1' } }, id, body);
    const all = await Promise.all([ask(caller), ask(other), ask(caller), ask(other)]);
    await Promise.all(all.map((stream) => stream.ended));
    const late = await ask(other);
    await late.ended;
    expect(new Set([...all, late].map(turnIdOf)).size).toBe(1);
    expect([...all, late].map((stream) => textOf(stream.events))).toEqual(Array(5).fill(REPLY));
    expect(await turnsOf(id)).toHaveLength(2);
    expect((await ask(caller, { content: 'another' })).status).toBe(409);
  });

  it('shows the limits whether a turn is taken, repeated, malformed, unreadable or in no conversation', async () => {
    const id = await newConversation(caller);
    const post = async (conversation: string, body: string, key: string): Promise<Response> => {
      const response = await fetch(`${caller.gateway}/v1/conversations/${conversation}/turns`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${caller.token}`,
          'content-type': 'application/json',
          'idempotency-key': key,
        },
        body,
      });
      await response.text();
      return response;
    };
    const body = JSON.stringify({ role: 'user', content: 'limits' });
    const answers = [
      await post(id, body, 'limits'),
      await post(id, body, 'limits'),
      await post(id, '{"role":"user"}', 'other'),
      await post(id, '{', 'other'),
      await post(newTurnId(), body, 'other'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 400, 400, 404]);
    for (const { headers } of answers)
      for (const what of ['limit', 'remaining', 'reset'])
        expect(headers.get(`x-ratelimit-${what}-tokens`)).toMatch(/^\d+$/);
  });

  it('lets every parallel request with one key join the winner, however close they come', async () => {
    for (let round = 0; round < 10; round += 1) {
      const id = await newConversation(caller);
      const headers = { 'idempotency-key': `race-${round}` };
      const from = (index: number): Caller => ({ ...(index % 2 === 0 ? caller : other), headers });
      const all = await Promise.all(
        Array.from({ length: 8 }, (_, index) => takeTurn(from(index), id, { content: 'race' })),
      );
      await Promise.all(all.map((stream) => stream.ended));
      expect(all.map(({ status }) => status)).toEqual(Array(8).fill(200));
      expect(new Set(all.map(turnIdOf)).size).toBe(1);
    }
  });

  it('keeps the keys of users apart', async () => {
    const mine = await newConversation(caller);
    const stranger = { ...caller, token: harness.tokens.enterprise };
    const theirs = await newConversation(stranger);
    const headers = { 'idempotency-key': 'shared' };
    const [one, two] = await Promise.all([
      takeTurn({ ...caller, headers }, mine, { content: 'a' }),
      takeTurn({ ...stranger, headers }, theirs, { content: 'b' }),
    ]);
    await Promise.all([one.ended, two.ended]);
    expect(turnIdOf(one)).not.toBe(turnIdOf(two));
  });

  it('refuses a second turn while one runs, naming it, unless it is another branch', async () => {
    const id = await newConversation(caller);
    const first = await takeTurn(caller, id, { content: 'one' });
    await first.ended;
    const second = await running(id);
    const refused = await call(caller, 'POST', `/v1/conversations/${id}/turns`, {
      role: 'user',
      content: 'two',
    });
    expect(refused).toMatchObject({
      status: 409,
      json: { error: { code: 'turn_conflict', turn_id: turnIdOf(second) } },
    });
    gate.open();
    await second.ended;
    const third = await running(id);
    const branch = await takeTurn(caller, id, {
      content: 'branch',
      parent_turn_id: turnIdOf(first),
    });
    expect(branch.status).toBe(200);
    gate.open();
    await Promise.all([third.ended, branch.ended]);
  });

  it('makes siblings of an edit and of a regeneration', async () => {
    const id = await newConversation(caller);
    const first = await takeTurn(caller, id, { content: 'question' });
    await first.ended;
    const [user, assistant] = await turnsOf(id);
    const again = await takeTurn(caller, id, { regenerate_of: assistant?.['turn_id'] });
    await again.ended;
    const edited = await takeTurn(caller, id, {
      content: 'better question',
      edit_of: user?.['turn_id'],
    });
    await edited.ended;
    const turns = await turnsOf(id);
    expect(turns.find((turn) => turn['turn_id'] === turnIdOf(again))).toMatchObject({
      parent_turn_id: user?.['turn_id'],
      replaces_turn_id: assistant?.['turn_id'],
    });
    expect(turns.find((turn) => turn['content'] === 'better question')).toMatchObject({
      parent_turn_id: null,
      replaces_turn_id: user?.['turn_id'],
    });
    expect(turns).toHaveLength(5);
  });

  it('refuses over the limit with Retry-After and leaves nothing behind', async () => {
    const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
    const tight = {
      ...catalog,
      tiers: { ...catalog.tiers, free: { ...catalog.tiers.free, requests_per_minute: 1 } },
    };
    const free = {
      gateway: await harness.startGateway({ catalog: tight }),
      token: harness.tokens.free,
    };
    const stop = await harness.turns.startPool('mini', fakeServedModel({ reply: 'x' }));
    const id = await newConversation(free);
    await (
      await takeTurn(free, id, { content: 'a' })
    ).ended;
    const refused = await call(free, 'POST', `/v1/conversations/${id}/turns`, {
      role: 'user',
      content: 'b',
    });
    await stop();
    expect(refused).toMatchObject({ status: 429, json: { error: { code: 'rate_limited' } } });
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(refused.headers.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(
      await rows(harness.turns.db, 'select 1 from turn_requests where conversation_id = $1', [id]),
    ).toHaveLength(1);
  });

  it('takes everything back when the workflow cannot be started', async () => {
    const dispatch = {
      start: () => Promise.reject(new AppError('WORKFLOW_UNAVAILABLE')),
      cancel: () => Promise.resolve(true),
    };
    const broken = { ...caller, gateway: await harness.startGateway({ dispatch }) };
    const id = await newConversation(caller);
    expect(
      await call(broken, 'POST', `/v1/conversations/${id}/turns`, { role: 'user', content: 'a' }),
    ).toMatchObject({ status: 503, json: { error: { code: 'workflow_unavailable' } } });
    expect(
      await rows(harness.turns.db, 'select 1 from turn_requests where conversation_id = $1', [id]),
    ).toEqual([]);
    const next = await takeTurn(caller, id, { content: 'a' });
    await next.ended;
    expect(textOf(next.events)).toBe(REPLY);
  });

  it('lets a running turn be when a repeat of its request cannot start it again', async () => {
    const dispatch = {
      start: () => Promise.reject(new AppError('WORKFLOW_UNAVAILABLE')),
      cancel: () => Promise.resolve(true),
    };
    const broken = { ...caller, gateway: await harness.startGateway({ dispatch }) };
    const id = await newConversation(caller);
    hold();
    const headers = { 'idempotency-key': 'repeat-fails' };
    const stream = await takeTurn({ ...caller, headers }, id, { content: 'hold' });
    await stream.until(({ event }) => event === 'token');
    const repeat = await takeTurn({ ...broken, headers }, id, { content: 'hold' });
    repeat.close();
    gate.open();
    await stream.until(({ event }) => event === 'done');
    expect(textOf(stream.events)).toBe(REPLY);
    expect(await turnsOf(id)).toMatchObject([{ content: 'hold' }, { content: REPLY }]);
  });

  it('lets a turn be that a repeat has joined while its first start was on its way and then failed', async () => {
    let isAsked = (): void => undefined;
    const asked = new Promise<void>((resolve) => (isAsked = resolve));
    let fail = (): void => undefined;
    const failure = new Promise<void>((_, reject) => {
      fail = () => reject(new AppError('WORKFLOW_UNAVAILABLE'));
    });
    const dispatch = {
      start: () => {
        isAsked();
        return failure;
      },
      cancel: () => Promise.resolve(true),
    };
    const slow = { ...caller, gateway: await harness.startGateway({ dispatch }) };
    const id = await newConversation(caller);
    const headers = { 'idempotency-key': 'joined' };
    const first = takeTurn({ ...slow, headers }, id, { content: 'join' });
    await asked;
    hold();
    const repeat = await takeTurn({ ...caller, headers }, id, { content: 'join' });
    await repeat.until(({ event }) => event === 'token');
    fail();
    expect((await first).status).toBe(503);
    gate.open();
    await repeat.until(({ event }) => event === 'done');
    expect(textOf(repeat.events)).toBe(REPLY);
    expect(await turnsOf(id)).toMatchObject([{ content: 'join' }, { content: REPLY }]);
  });

  it('keeps a turn whose start is not known to have failed: once its message is stored, it is not taken back', async () => {
    const dispatch = {
      start: async (turn: TurnInput) => {
        await harness.turns.dispatch.start(turn);
        await waitFor('the message is stored', async () => (await turnsOf(id)).length > 0);
        throw new AppError('WORKFLOW_UNAVAILABLE'); // The answer was lost, not the start.
      },
      cancel: () => Promise.resolve(true),
    };
    const deaf = { ...caller, gateway: await harness.startGateway({ dispatch }) };
    const id = await newConversation(caller);
    const headers = { 'idempotency-key': 'started-all-the-same' };
    const refused = await takeTurn({ ...deaf, headers }, id, { content: 'once' });
    expect(refused.status).toBe(503);
    const repeat = await takeTurn({ ...caller, headers }, id, { content: 'once' });
    await repeat.until(({ event }) => event === 'done');
    expect(textOf(repeat.events)).toBe(REPLY);
    expect(await turnsOf(id)).toMatchObject([{ content: 'once' }, { content: REPLY }]);
  });

  it('refuses a turn whose place was taken by another, whole turn while it was being accepted', async () => {
    const id = await newConversation(caller);
    // What a gateway does that freezes between looking the conversation up and taking the turn.
    const plan = await planned(id);
    const between = await takeTurn(caller, id, { content: 'first' });
    await between.ended;
    expect(await acceptTurn(harness.turns.db, plan.turn, plan.isContinuation)).toBe('conflict');
    const again = await planned(id);
    expect(await acceptTurn(harness.turns.db, again.turn, again.isContinuation)).toBe('accepted');
    await withdrawRequest(harness.turns.db, (await lastRequest(id)).turn_id);
  });
});

describe('resuming a stream', () => {
  it('gives exactly the rest at every entry: from the log, at another gateway, and from the store when the log is gone', async () => {
    const id = await newConversation(caller);
    const live = await takeTurn(caller, id, { content: 'Hello' });
    await live.ended;
    const turnId = turnIdOf(live);
    for (const source of ['log', 'store']) {
      if (source === 'store') await harness.turns.turnLog.remove(turnId as TurnId);
      for (const { id: after } of [{ id: 0 }, ...live.events]) {
        const replay = await resumeTurn(other, id, turnId, after);
        await replay.ended;
        const before = live.events.filter((event) => event.id <= after);
        expect(textOf(before) + textOf(replay.events)).toBe(REPLY);
        expect(replay.events.every((event) => event.id > after)).toBe(true);
        if (after < (live.events.at(-1)?.id ?? 0))
          expect(replay.events.at(-1)).toEqual(live.events.at(-1));
        else expect(replay.events).toEqual([]);
      }
    }
  });

  it('follows a running turn, for several readers alike', async () => {
    const id = await newConversation(caller);
    const live = await running(id);
    const readers = await Promise.all([
      resumeTurn(caller, id, turnIdOf(live), 0),
      resumeTurn(other, id, turnIdOf(live), 1),
    ]);
    gate.open();
    await Promise.all([live, ...readers].map((stream) => stream.ended));
    expect([live, ...readers].map((stream) => textOf(stream.events))).toEqual([
      REPLY,
      REPLY,
      REPLY,
    ]);
  });

  it('refuses numbers that are none and numbers that do not exist', async () => {
    const id = await newConversation(caller);
    const live = await running(id);
    for (const after of ['abc', '-1', '1.5', '0x10', '01', '1000', '9'.repeat(40)]) {
      const stream = await resumeTurn(caller, id, turnIdOf(live), after);
      expect(stream.status).toBe(400);
    }
    gate.open();
    await live.ended;
  });

  it('waits for a running turn whose log Redis lost, and then gives all of it', async () => {
    const id = await newConversation(caller);
    const live = await running(id);
    await harness.turns.turnLog.remove(turnIdOf(live) as TurnId);
    const reader = await resumeTurn(other, id, turnIdOf(live), 0);
    gate.open();
    await Promise.all([live.ended, reader.ended]);
    expect(textOf(reader.events)).toBe(REPLY);
    expect(textOf(live.events)).toBe(REPLY);
  });
});

describe('cancel', () => {
  it('ends the turn with what was delivered, and is 204 however often and whenever it is asked', async () => {
    const id = await newConversation(caller);
    const path = `/v1/conversations/${id}/cancel`;
    expect((await call(caller, 'POST', path)).status).toBe(204);
    const live = await running(id);
    const answers = await Promise.all([
      call(caller, 'POST', path),
      call(other, 'POST', path, { turn_id: turnIdOf(live) }),
    ]);
    await live.ended;
    answers.push(await call(caller, 'POST', path, { turn_id: turnIdOf(live) }));
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204]);
    expect(live.events.at(-1)).toMatchObject({
      event: 'done',
      data: { finish_reason: 'cancelled' },
    });
    expect((await turnsOf(id))[1]).toMatchObject({
      finish_reason: 'cancelled',
      content: textOf(live.events),
    });
  });

  it('happens when the last reader has left for longer than the grace, not when one came back elsewhere', async () => {
    const impatient = { ...caller, gateway: await harness.startGateway({ disconnectGraceMs: 50 }) };
    const id = await newConversation(caller);
    hold();
    const left = await takeTurn(impatient, id, { content: 'hold' });
    await left.until(({ event }) => event === 'token');
    const back = await resumeTurn(other, id, turnIdOf(left), 1);
    left.close();
    await new Promise((resolve) => setTimeout(resolve, 150));
    gate.open();
    await back.ended;
    expect(back.events.at(-1)).toMatchObject({ data: { finish_reason: 'stop' } });

    hold();
    const gone = await takeTurn(impatient, id, { content: 'hold' });
    await gone.until(({ event }) => event === 'token');
    gone.close();
    const stored = await waitFor('the turn is stored', async () =>
      (await turnsOf(id)).find((turn) => turn['turn_id'] === turnIdOf(gone)),
    );
    expect(stored).toMatchObject({ finish_reason: 'cancelled' });
  });
});

describe('a tab that closes while its turn waits in the queue', () => {
  const patient = { catalog: loadCatalog(projectPath('config', 'catalog.yaml')) };

  it('never starts the turn once the grace is over, though workers come', async () => {
    const gateway = await harness.startGateway({ ...patient, disconnectGraceMs: 50 });
    const id = await newConversation(caller);
    const numBefore = mini.engine.numSubmitted;
    const waiting = await takeTurn({ ...caller, gateway }, id, {
      content: 'Hello',
      model: 'colloquy-mini',
    });
    await waiting.until(({ event }) => event === 'open');
    waiting.close();
    const stored = await waitFor('the turn is stored', async () =>
      (await turnsOf(id)).find((turn) => turn['turn_id'] === turnIdOf(waiting)),
    );
    expect(stored).toMatchObject({ finish_reason: 'cancelled', content: '' });
    const stopMini = await harness.turns.startPool('mini', mini);
    const next = await takeTurn(caller, id, { content: 'Hello again', model: 'colloquy-mini' });
    await next.ended;
    await stopMini();
    expect(textOf(next.events)).toBe(REPLY);
    expect(mini.engine.numSubmitted).toBe(numBefore + 1);
  });

  it('lets the turn go on for a reader who comes back inside the grace', async () => {
    const gateway = await harness.startGateway({ ...patient, disconnectGraceMs: 5000 });
    const id = await newConversation(caller);
    const waiting = await takeTurn({ ...caller, gateway }, id, {
      content: 'Hello',
      model: 'colloquy-mini',
    });
    await waiting.until(({ event }) => event === 'open');
    waiting.close();
    await waiting.ended;
    const back = await resumeTurn({ ...caller, gateway }, id, turnIdOf(waiting), 1);
    const stopMini = await harness.turns.startPool('mini', mini);
    await back.ended;
    await stopMini();
    expect(textOf(back.events)).toBe(REPLY);
    expect(back.events.at(-1)).toMatchObject({ data: { finish_reason: 'stop' } });
  });
});

describe('DELETE conversation', () => {
  it('ends the running turn and leaves no trace of text', async () => {
    const id = await newConversation(caller);
    const live = await running(id);
    expect((await call(caller, 'DELETE', `/v1/conversations/${id}`)).status).toBe(204);
    await live.ended;
    for (const [method, path] of [
      ['GET', ''],
      ['PATCH', ''],
      ['DELETE', ''],
      ['POST', '/turns'],
      ['POST', '/cancel'],
      ['GET', `/turns/${turnIdOf(live)}/stream`],
    ] as const) {
      const body =
        method === 'PATCH'
          ? { title: 'x' }
          : path === '/turns'
            ? { role: 'user', content: 'x' }
            : undefined;
      expect(await call(caller, method, `/v1/conversations/${id}${path}`, body)).toMatchObject({
        status: 404,
        json: { error: { code: 'conversation_not_found' } },
      });
    }
    await waitFor(
      'the workflow has ended',
      async () => (await harness.turns.reader.read(turnIdOf(live) as TurnId, 0)) === 'missing',
    );
    for (const table of ['conversations', 'turns', 'turn_requests']) {
      expect(
        await rows(harness.turns.db, `select 1 from ${table} where conversation_id = $1`, [id]),
      ).toEqual([]);
    }
  });
});
