// The whole turn on real Temporal, PostgreSQL and Valkey; only the model is fake.
import { Runtime, Worker } from '@temporalio/worker';
import { AppError } from '../../../contracts/errors.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { turnLogKey, turnMetaKey } from '../../../contracts/redis-keys.ts';
import type { TurnInput } from '../../../contracts/turn-workflow.ts';
import { rows } from '../../../postgres/pool.ts';
import { findTurn } from '../../../postgres/turns.ts';
import { textOf } from '../../helpers/entry-text.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { gateAt } from '../../helpers/gate.ts';
import { services } from '../../helpers/services.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';

let harness: TurnHarness;
let stopPool: (() => Promise<void>) | null = null;

beforeAll(async () => {
  harness = await startTurnHarness();
}, 60_000);
afterEach(async () => {
  await stopPool?.();
  stopPool = null;
});
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const stored = (turn: TurnInput): ReturnType<typeof findTurn> =>
  findTurn(harness.db, turn.conversationId, turn.turnId);

async function ledgerOf(turn: TurnInput): Promise<unknown[]> {
  return rows(
    harness.db,
    'select finish_reason, completion_tokens from ledger where turn_id = $1',
    [turn.turnId],
  );
}

/** The history as one searchable text, payloads decoded. */
async function historyOf(turn: TurnInput): Promise<{ numEvents: number; text: string }> {
  const handle = await harness.start(turn);
  const { events = [] } = await handle.fetchHistory();
  const decode = (value: unknown): string =>
    value instanceof Uint8Array
      ? Buffer.from(value).toString('utf8')
      : typeof value === 'object' && value !== null
        ? Object.entries(value)
            .map(([key, each]) => `${key} ${decode(each)}`)
            .join('\n')
        : String(value);
  return { numEvents: events?.length ?? 0, text: decode(events) };
}

async function run(turn: TurnInput): Promise<void> {
  await (await harness.start(turn)).result();
}

describe('the turn workflow', () => {
  it('stores what it streamed, bills it once and ends the log after the commit', async () => {
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'Hello, sea.' }));
    const turn = await harness.accept(await harness.newConversation(), 'Tell me about the sea');
    const ended = harness
      .entry(turn.turnId, (entry) => entry.type === 'end')
      .then(() => stored(turn));
    await run(turn);
    expect(await ended).toMatchObject({
      content: 'Hello, sea.',
      finishReason: 'stop',
      usage: { completion_tokens: 11 },
    });
    const entries = await harness.entries(turn.turnId);
    expect(textOf(entries)).toBe('Hello, sea.');
    expect(entries.map((entry) => entry.n)).toEqual(entries.map((_, index) => index + 1));
    expect((await stored(turn))?.streamOffsets).toHaveLength(entries.length);
    expect(await findTurn(harness.db, turn.conversationId, turn.userTurnId)).toMatchObject({
      role: 'user',
      content: 'Tell me about the sea',
    });
    expect(await ledgerOf(turn)).toEqual([{ finish_reason: 'stop', completion_tokens: 11 }]);
  });

  it('keeps text out of the history, shows every step in it, and its size does not depend on the reply', async () => {
    stopPool = await harness.startPool(
      'mini',
      fakeServedModel({ reply: 'reply-canary '.repeat(32).slice(0, 400) }),
    );
    const long = await harness.accept(await harness.newConversation(), 'prompt-canary');
    const short = await harness.accept(await harness.newConversation(), 'prompt-canary', {
      maxTokens: 10,
    });
    await Promise.all([run(long), run(short)]);
    const [one, other] = [await historyOf(long), await historyOf(short)];
    for (const step of [
      'authorize',
      'loadHistory',
      'moderateInput',
      'routeTurn',
      'generate',
      'persistTurn',
      'settle',
    ])
      expect(one.text).toContain(step);
    expect(one.text).not.toMatch(/prompt-canary|reply-canary/);
    expect(one.numEvents).toBe(other.numEvents);
    expect(one.numEvents).toBeLessThanOrEqual(30);
    expect((await stored(short))?.finishReason).toBe('length');
  });

  it('stores what was delivered when it is cancelled in mid-reply, by either path', async () => {
    for (const path of ['redis', 'signal'] as const) {
      const gate = gateAt(5);
      stopPool = await harness.startPool('mini', fakeServedModel({ reply: '0123456789', ...gate }));
      const turn = await harness.accept(await harness.newConversation(), 'count');
      const running = run(turn);
      await harness.entry(turn.turnId, (entry) => entry.type === 'token');
      await (path === 'redis'
        ? harness.turnLog.cancel(turn.turnId)
        : harness.dispatch.cancel(turn.conversationId, turn.turnId));
      await running;
      gate.open();
      const text = textOf(await harness.entries(turn.turnId));
      expect(text).toMatch(/^0/);
      expect(await stored(turn)).toMatchObject({ finishReason: 'cancelled', content: text });
      expect(await ledgerOf(turn)).toEqual([
        { finish_reason: 'cancelled', completion_tokens: text.length },
      ]);
      await stopPool();
      stopPool = null;
    }
  });

  it('ends a turn that is cancelled while no worker has taken it', async () => {
    const turn = await harness.accept(await harness.newConversation(), 'wait');
    const running = run(turn);
    await harness.turnLog.cancel(turn.turnId);
    await harness.dispatch.cancel(turn.conversationId, turn.turnId);
    await running;
    expect(await stored(turn)).toMatchObject({ finishReason: 'cancelled', content: '' });
    expect(await findTurn(harness.db, turn.conversationId, turn.userTurnId)).toMatchObject({
      content: 'wait',
    });
  });

  it('continues at the next token after an attempt that failed, and says so in a retry entry', async () => {
    let failures = 0;
    const beforeToken = async (index: number): Promise<void> => {
      if (index === 4 && failures === 0) {
        failures += 1;
        for (const seqId of live) model.engine.abort(seqId);
        throw new AppError('INTERNAL');
      }
    };
    const live = new Set<string>();
    const model = fakeServedModel({
      reply: 'abcdefgh',
      beforeToken: (index) => beforeToken(index).catch(() => undefined),
    });
    const submit = model.engine.submit.bind(model.engine);
    model.engine.submit = (request, listener) => {
      live.add(request.seqId);
      submit(request, {
        ...listener,
        onTokens: (ids) => listener.onTokens(ids),
        onFinish: (finish, numCachedTokens) =>
          listener.onFinish(
            finish.reason === 'abort' ? { reason: 'error', error: new Error('broken') } : finish,
            numCachedTokens,
          ),
      });
    };
    stopPool = await harness.startPool('mini', model);
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    await run(turn);
    const entries = await harness.entries(turn.turnId);
    expect(textOf(entries)).toBe('abcdefgh');
    expect(entries.filter((entry) => entry.type === 'retry')).toHaveLength(1);
    expect(model.engine.numSubmitted).toBe(2);
    expect(await stored(turn)).toMatchObject({
      content: 'abcdefgh',
      finishReason: 'stop',
      usage: { completion_tokens: 8 },
    });
    expect(await ledgerOf(turn)).toHaveLength(1);
  });

  it('outlasts a pool whose attempts fail for longer than a dozen tries', async () => {
    const model = fakeServedModel({ reply: 'at last' });
    const submit = model.engine.submit.bind(model.engine);
    let numFailed = 0;
    model.engine.submit = (request, listener) => {
      numFailed += 1;
      if (numFailed <= 11) listener.onFinish({ reason: 'error', error: new Error('broken') }, 0);
      else submit(request, listener);
    };
    stopPool = await harness.startPool('mini', model);
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    await run(turn);
    expect(await stored(turn)).toMatchObject({ content: 'at last', finishReason: 'stop' });
    expect(await ledgerOf(turn)).toHaveLength(1);
  }, 60_000);

  it('writes nothing more once a later attempt owns the log', async () => {
    const gate = gateAt(3);
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'abcdef', ...gate }));
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    const running = run(turn);
    await harness.entry(turn.turnId, (entry) => entry.type === 'token' && entry.n >= 2);
    await harness.redis.hset(turnMetaKey(turn.turnId), 'epoch', 9_000_000);
    gate.open();
    await running;
    expect(textOf(await harness.entries(turn.turnId)).length).toBeLessThanOrEqual(3);
    expect(await stored(turn)).toMatchObject({ finishReason: 'error' });
  });

  it('completes and stores once when Redis loses everything in mid-reply', async () => {
    const gate = gateAt(4);
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'abcdefgh', ...gate }));
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    const running = run(turn);
    await harness.entry(turn.turnId, (entry) => entry.type === 'token');
    await harness.redis.flushall();
    gate.open();
    await running;
    expect(await stored(turn)).toMatchObject({ content: 'abcdefgh', finishReason: 'stop' });
    expect(textOf(await harness.entries(turn.turnId))).toBe('abcdefgh');
    expect(await ledgerOf(turn)).toHaveLength(1);
  });

  it('generates again what Redis lost before it was stored, and ends behind all that readers have', async () => {
    for (const how of ['lost', 'older'] as const) {
      const gate = gateAt(3);
      const model = fakeServedModel({ reply: 'abcdefgh', ...gate });
      stopPool = await harness.startPool('mini', model);
      const turn = await harness.accept(await harness.newConversation(), 'letters');
      const key = turnLogKey(turn.turnId);
      const seal = jest.spyOn(harness.turnLog, 'seal');
      const running = run(turn);
      await harness.entry(turn.turnId, (entry) => entry.type === 'token' && entry.n === 3);
      const older = await harness.redis.dumpBuffer(key);
      let lastSeen = 0;
      seal.mockImplementationOnce(async (turnId, leastEntry) => {
        lastSeen = (await harness.entries(turnId)).at(-1)?.n ?? 0;
        if (how === 'lost') await harness.redis.flushall();
        else await harness.redis.restore(key, 60_000, older ?? '', 'REPLACE');
        return harness.turnLog.seal(turnId, leastEntry);
      });
      gate.open();
      await running;
      seal.mockRestore();
      const entries = await harness.entries(turn.turnId);
      expect(model.engine.numSubmitted).toBe(2);
      expect(textOf(entries)).toBe('abcdefgh');
      expect(await stored(turn)).toMatchObject({ content: 'abcdefgh', finishReason: 'stop' });
      expect(await ledgerOf(turn)).toEqual([{ finish_reason: 'stop', completion_tokens: 8 }]);
      // Nothing new stands under a number that a reader may have.
      const kept = how === 'lost' ? 1 : entries.findIndex(({ type }) => type === 'lost');
      const types = entries.slice(kept, lastSeen).map(({ type }) => type);
      expect(types).toEqual(types.map(() => 'lost'));
      expect(types.length).toBeGreaterThan(0);
      expect(entries.at(-1)).toMatchObject({ type: 'end' });
      await stopPool();
      stopPool = null;
    }
  });

  it('sends readers to the store when Redis loses the log between the commit and the end', async () => {
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'abc' }));
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    const sent = new Promise<NumberedEntry>((resolve) => {
      void harness.reader.subscribe(turn.turnId, (entry) => entry.n === 0 && resolve(entry));
    });
    const end = jest.spyOn(harness.turnLog, 'end').mockImplementationOnce(async () => {
      await harness.redis.flushall();
      throw new AppError('STREAM_UNAVAILABLE');
    });
    await run(turn);
    end.mockRestore();
    expect(await sent).toMatchObject({ type: 'end', data: { turn_id: turn.turnId } });
    expect(await stored(turn)).toMatchObject({ content: 'abc', finishReason: 'stop' });
    expect(await ledgerOf(turn)).toHaveLength(1);
  });

  it('stores the turn though the answer to its first try never comes', async () => {
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'abc' }));
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    const query = harness.appDb.query.bind(harness.appDb) as (asked: unknown) => unknown;
    let numHung = 0;
    let giveUp: () => void = () => undefined;
    const hanging = jest.spyOn(harness.appDb, 'query').mockImplementation(((asked: {
      text: string;
    }) => {
      if (!asked.text.includes('insert into ledger') || numHung > 0) return query(asked);
      numHung += 1;
      return new Promise((_, reject) => (giveUp = () => reject(new Error('gone'))));
    }) as never);
    await run(turn);
    hanging.mockRestore();
    giveUp();
    expect(numHung).toBe(1);
    expect(await stored(turn)).toMatchObject({ content: 'abc' });
    // With the ten seconds that a try once had, the test's own time is over.
  }, 9000);

  it('blocks a divergent prompt without asking the pool, and leaves the user their text', async () => {
    const model = fakeServedModel({ reply: 'never' });
    stopPool = await harness.startPool('mini', model);
    const turn = await harness.accept(await harness.newConversation(), 'poem '.repeat(100));
    await run(turn);
    expect((await harness.entries(turn.turnId)).map((entry) => entry.type)).toEqual([
      'open',
      'moderation',
      'end',
    ]);
    expect(await stored(turn)).toMatchObject({
      finishReason: 'content_filter',
      content: '',
      moderationVerdict: { category: 'divergence' },
    });
    expect((await findTurn(harness.db, turn.conversationId, turn.userTurnId))?.content).toContain(
      'poem',
    );
    expect(model.engine.numSubmitted).toBe(0);
  });

  it('ends with an error that has a code when the prompt does not fit', async () => {
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'never' }));
    const turn = await harness.accept(
      await harness.newConversation(),
      'word and number '.repeat(200).replace(/number/g, () => String(Math.random())),
    );
    await run(turn);
    expect(await harness.entries(turn.turnId)).toMatchObject([
      { type: 'open' },
      { type: 'error', data: { code: 'context_length_exceeded' } },
      { type: 'end', data: { finish_reason: 'error' } },
    ]);
    expect(await stored(turn)).toMatchObject({
      finishReason: 'error',
      errorCode: 'CONTEXT_LENGTH_EXCEEDED',
    });
  });

  it('leaves nothing of a turn whose conversation is deleted while it runs', async () => {
    const gate = gateAt(3);
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'abcdef', ...gate }));
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    const running = run(turn);
    await harness.entry(turn.turnId, (entry) => entry.type === 'token');
    await rows(harness.db, 'delete from conversations where conversation_id = $1', [
      turn.conversationId,
    ]);
    gate.open();
    await running;
    expect(await stored(turn)).toBeNull();
    expect(await harness.reader.read(turn.turnId, 0)).toBe('missing');
    expect(await ledgerOf(turn)).toEqual([]);
  });

  it('is started once however often it is asked for', async () => {
    const model = fakeServedModel({ reply: 'once' });
    stopPool = await harness.startPool('mini', model);
    const turn = await harness.accept(await harness.newConversation(), 'x');
    await Promise.all([1, 2, 3].map(() => harness.dispatch.start(turn)));
    await run(turn);
    await harness.dispatch.start(turn);
    expect(model.engine.numSubmitted).toBe(1);
  });

  it('replays its own histories', async () => {
    stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'again' }));
    const turn = await harness.accept(await harness.newConversation(), 'x');
    const handle = await harness.start(turn);
    await handle.result();
    const history = await handle.fetchHistory();
    await Worker.runReplayHistory(
      { workflowBundle: { codePath: services().workflowBundlePath } },
      history,
    );
  });
});
