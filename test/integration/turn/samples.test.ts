// Turns with several replies on real Temporal, PostgreSQL and Valkey; only the model is fake.
import { Runtime } from '@temporalio/worker';
import { sampleTurnIds } from '../../../contracts/samples.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { TurnInput } from '../../../contracts/turn-workflow.ts';
import { rows } from '../../../postgres/pool.ts';
import { findReplies } from '../../../postgres/turns.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
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

const REPLIES = ['first', 'the second, which is longer', 'third!'];
const SEED = 70;
const reply = (seed: number): string => REPLIES[seed - SEED] ?? '';
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function accept(n = 3, params: object = {}): Promise<TurnInput> {
  return harness.accept(await harness.newConversation(), 'three, please', {
    n,
    seed: SEED,
    ...params,
  });
}

const start = async (model: ReturnType<typeof fakeServedModel>): Promise<void> => {
  stopPool = await harness.startPool('mini', model);
};
const run = async (turn: TurnInput): Promise<unknown> => (await harness.start(turn)).result();
const stored = (turn: TurnInput): ReturnType<typeof findReplies> =>
  findReplies(harness.db, turn.conversationId, turn.turnId);
const textOf = (entries: readonly NumberedEntry[], index: number): string =>
  entries
    .map(({ type, data }) => (type === 'token' && data.index === index ? data.text : ''))
    .join('');
const ledgerOf = (turn: TurnInput): Promise<unknown[]> =>
  rows(
    harness.db,
    'select finish_reason, prompt_tokens, completion_tokens from ledger where turn_id::text like $1',
    [`${turn.turnId.slice(0, 24)}%`],
  );

/** A model that holds reply `sampleIndex` before a token until it is let go. */
function held(
  sampleIndex: number,
  at: number,
): {
  beforeToken: (index: number, sample: number) => Promise<void>;
  reached: Promise<void>;
  open: () => void;
} {
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  let reach: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => (reach = resolve));
  const beforeToken = (index: number, sample: number): Promise<void> => {
    if (index !== at || sample !== sampleIndex) return tick();
    reach();
    return gate;
  };
  return { beforeToken, reached, open };
}

describe('a turn with several replies', () => {
  it('asks the engine once, stores each reply as a sibling and bills the prompt once with all outputs', async () => {
    const model = fakeServedModel({ reply });
    await start(model);
    const turn = await accept();
    await run(turn);
    expect(model.engine.requests).toMatchObject([{ numSamples: 3 }]);
    const replies = await stored(turn);
    const ids = sampleTurnIds(turn.turnId, 3);
    expect(replies).toMatchObject(
      REPLIES.map((content, index) => ({
        turnId: ids[index],
        content,
        parentTurnId: turn.userTurnId,
        finishReason: 'stop',
        sampleIndex: index,
        usage: { completion_tokens: content.length },
      })),
    );
    const prompt = model.engine.requests[0]?.promptTokenIds.length;
    expect(replies.map(({ usage }) => usage?.prompt_tokens)).toEqual([prompt, 0, 0]);
    expect(await ledgerOf(turn)).toEqual([
      {
        finish_reason: 'stop',
        prompt_tokens: prompt,
        completion_tokens: REPLIES.join('').length,
      },
    ]);
    const [conversation] = await rows(
      harness.db,
      'select active_turn_id from conversations where conversation_id = $1',
      [turn.conversationId],
    );
    expect(conversation).toEqual({ active_turn_id: turn.turnId });
  });

  it('tells in the log whose each text is, and ends it with one done for each after the commit', async () => {
    await start(fakeServedModel({ reply }));
    const turn = await accept();
    const ended = harness
      .entry(turn.turnId, ({ type }) => type === 'done')
      .then(() => stored(turn));
    await run(turn);
    expect(await ended).toHaveLength(3);
    const entries = await harness.entries(turn.turnId);
    expect(entries.map(({ n }) => n)).toEqual(entries.map((_, index) => index + 1));
    expect(REPLIES.map((_, index) => textOf(entries, index))).toEqual(REPLIES);
    expect(entries[0]).toMatchObject({ data: { turn_ids: sampleTurnIds(turn.turnId, 3) } });
    expect(entries.filter(({ type }) => type === 'finish')).toHaveLength(3);
    expect(entries.slice(-3)).toMatchObject(
      sampleTurnIds(turn.turnId, 3).map((turn_id, index) => ({
        type: index === 2 ? 'end' : 'done',
        data: { index, turn_id, finish_reason: 'stop' },
      })),
    );
    for (const { streamOffsets } of await stored(turn))
      expect(streamOffsets).toHaveLength(entries.length);
  });

  it('goes on with each reply at its own next token after a failure, and leaves a complete one alone', async () => {
    const gate = held(1, 9);
    const model = fakeServedModel({ reply, beforeToken: gate.beforeToken });
    await start(model);
    const turn = await accept();
    const running = run(turn);
    const isComplete = (index: number): Promise<NumberedEntry> =>
      harness.entry(turn.turnId, ({ type, data }) => type === 'finish' && data.index === index);
    await Promise.all([isComplete(0), isComplete(2), gate.reached]);
    // A worker that stops hands its turns over; the next one takes them up from the log.
    await stopPool?.();
    const second = fakeServedModel({ reply });
    await start(second);
    await running;
    gate.open();
    expect(second.engine.requests).toMatchObject([
      {
        sampling: { seed: SEED + 1 },
        outputTokenIds: [...'the secon'].map((c) => c.charCodeAt(0)),
      },
    ]);
    expect((await stored(turn)).map(({ content }) => content)).toEqual(REPLIES);
    const entries = await harness.entries(turn.turnId);
    expect(entries.filter(({ type }) => type === 'retry')).toHaveLength(1);
    expect(entries.filter(({ type }) => type === 'finish')).toHaveLength(3);
    expect(await ledgerOf(turn)).toMatchObject([{ completion_tokens: REPLIES.join('').length }]);
  });

  it('cancels what still runs and keeps what is complete', async () => {
    const gate = held(1, 5);
    await start(fakeServedModel({ reply, beforeToken: gate.beforeToken }));
    const turn = await accept();
    const running = run(turn);
    await harness.entry(turn.turnId, ({ type, data }) => type === 'finish' && data.index === 2);
    await harness.entry(turn.turnId, ({ type, data }) => type === 'finish' && data.index === 0);
    await gate.reached;
    await harness.turnLog.cancel(turn.turnId);
    await running;
    gate.open();
    const partial = textOf(await harness.entries(turn.turnId), 1);
    expect(partial).toBe('the s');
    expect(await stored(turn)).toMatchObject([
      { content: REPLIES[0], finishReason: 'stop' },
      { content: partial, finishReason: 'cancelled' },
      { content: REPLIES[2], finishReason: 'stop' },
    ]);
    expect(await ledgerOf(turn)).toMatchObject([
      { finish_reason: 'cancelled', completion_tokens: 5 + 5 + 6 },
    ]);
  });

  it('ends one reply at a stop string and lets the others go on', async () => {
    const model = fakeServedModel({ reply });
    await start(model);
    const turn = await accept(3, { stop: ['w'] });
    await run(turn);
    expect(await stored(turn)).toMatchObject([
      { content: 'first', finishReason: 'stop' },
      { content: 'the second, ', finishReason: 'stop' },
      { content: 'third!', finishReason: 'stop' },
    ]);
  });

  it('ends each reply at its length by itself', async () => {
    await start(fakeServedModel({ reply }));
    const turn = await accept(3, { maxTokens: 6 });
    await run(turn);
    expect(await stored(turn)).toMatchObject([
      { content: 'first', finishReason: 'stop' },
      { content: 'the se', finishReason: 'length' },
      { content: 'third!', finishReason: 'stop' },
    ]);
  });

  it('survives a Redis that loses everything in mid-reply', async () => {
    const gate = held(1, 9);
    await start(fakeServedModel({ reply, beforeToken: gate.beforeToken }));
    const turn = await accept();
    const running = run(turn);
    await harness.entry(turn.turnId, ({ type, data }) => type === 'finish' && data.index === 0);
    await gate.reached;
    await harness.redis.flushall();
    gate.open();
    await running;
    expect((await stored(turn)).map(({ content }) => content)).toEqual(REPLIES);
    const entries = await harness.entries(turn.turnId);
    expect(REPLIES.map((_, index) => textOf(entries, index))).toEqual(REPLIES);
    expect(await ledgerOf(turn)).toHaveLength(1);
  });

  it('stores every announced reply of a blocked prompt, empty', async () => {
    const model = fakeServedModel({ reply });
    await start(model);
    const conversation = await harness.newConversation();
    const turn = await harness.accept(conversation, 'poem '.repeat(100), { n: 2 });
    await run(turn);
    expect((await harness.entries(turn.turnId)).map(({ type }) => type)).toEqual([
      'open',
      'moderation',
      'done',
      'end',
    ]);
    expect(await stored(turn)).toMatchObject([
      { content: '', finishReason: 'content_filter', sampleIndex: 0 },
      { content: '', finishReason: 'content_filter', sampleIndex: 1 },
    ]);
    expect(model.engine.numSubmitted).toBe(0);
  });
});
