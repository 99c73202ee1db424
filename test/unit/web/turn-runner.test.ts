import { answerMemory } from '../../../web/src/answer-memory.ts';
import { createApiClient } from '../../../web/src/api-client.ts';
import {
  EMPTY_CONVERSATION,
  liveInView,
  pathInView,
  SIGNED_OUT,
} from '../../../web/src/app-state.ts';
import type { AppState } from '../../../web/src/app-state.ts';
import { createConversationActions } from '../../../web/src/conversation-actions.ts';
import { runningTurns } from '../../../web/src/running-turns.ts';
import type { RunningTurn } from '../../../web/src/running-turns.ts';
import { createStore } from '../../../web/src/store.ts';
import { createTurnActions } from '../../../web/src/turn-actions.ts';
import { TurnRunner } from '../../../web/src/turn-runner.ts';
import { DONE, frames, memoryStorage, OPEN, turn, USAGE } from './turns.ts';
import type { FrameEvent } from './turns.ts';

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/** The page without its views, before a service whose turn streams the test writes. */
class Page {
  readonly sent: Sent[] = [];
  /** Facts that answers were told. */
  readonly used: string[] = [];
  readonly storage = memoryStorage();
  readonly running = runningTurns(this.storage);
  readonly memory = answerMemory(this.storage);
  readonly store = createStore<AppState>({ ...SIGNED_OUT, isSignedIn: true });
  /** Answers to turns that are posted, and to streams that are resumed, before the stream is given. */
  readonly refusals: Response[] = [];
  readonly lostStreams: Response[] = [];
  stream = new Stream();
  stored: AppState['open']['turns'] = [];
  nowMs = 1000;
  readonly conversations;
  readonly runner;
  readonly turns;

  constructor() {
    const { store, running, memory } = this;
    const api = createApiClient(() => 'token', ((path: string, init: RequestInit) =>
      this.#answer(path, init)) as typeof fetch);
    const link = {
      after: () => () => undefined,
      isOnline: () => true,
      onChange: () => () => undefined,
    };
    const now = (): number => this.nowMs;
    this.conversations = createConversationActions({
      api,
      store,
      showAddress: () => undefined,
      onUnauthenticated: () => store.set({ isSignedIn: false }),
    });
    const { conversations } = this;
    const onUsed = (ids: readonly string[]): void => void this.used.push(...ids);
    this.runner = new TurnRunner({ api, link, store, running, memory, conversations, now, onUsed });
    this.turns = createTurnActions({
      store,
      conversations,
      run: (each) => this.runner.run(each),
      now,
      newKey: () => 'key',
    });
  }

  /** The conversation `c` with these turns is in view. */
  show(...turns: AppState['open']['turns']): this {
    this.stored = turns;
    this.store.set({ open: { ...EMPTY_CONVERSATION, id: 'c', turns } });
    return this;
  }

  get path(): string[] {
    return pathInView(this.store.get()).map(({ turn: each }) => `${each.turn_id}: ${each.content}`);
  }

  requests(method: string, path: string): unknown[] {
    return this.sent
      .filter((each) => each.method === method && each.path === path)
      .map(({ body }) => body);
  }

  async #answer(path: string, { method = 'GET', body }: RequestInit): Promise<Response> {
    this.sent.push({
      method,
      path,
      body: typeof body === 'string' ? (JSON.parse(body) as unknown) : null,
    });
    const isTurn = method === 'POST' && path.endsWith('/turns');
    const isStream = path.endsWith('/stream');
    const refused = isTurn
      ? this.refusals.shift()
      : isStream
        ? this.lostStreams.shift()
        : undefined;
    if (refused !== undefined) return refused;
    if (isTurn || isStream) return new Response(this.stream.body, { status: 200 });
    if (path.endsWith('/cancel')) return new Response(null, { status: 204 });
    if (method === 'POST') return Response.json({ conversation_id: 'c' }, { status: 201 });
    if (path.startsWith('/v1/conversations/c')) {
      const conversation = { conversation_id: 'c', title: 'Title', model: 'm', last_turn_at: '' };
      return Response.json({ conversation, turns: this.stored, next_cursor: null });
    }
    return Response.json({ conversations: [], next_cursor: null });
  }
}

class Stream {
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  readonly body = new ReadableStream<Uint8Array>({
    start: (controller) => void (this.#controller = controller),
  });

  async push(...events: readonly FrameEvent[]): Promise<void> {
    this.#controller?.enqueue(new TextEncoder().encode(frames(...events)));
    await settled();
  }
}

const opened: FrameEvent = [1, 'open', OPEN];
const done: FrameEvent = [9, 'done', DONE];

describe('turns of the page', () => {
  it('shows a message at once and its answer as it comes, and forgets the stream when it is done', async () => {
    const page = new Page();
    const sending = page.turns.send('Hi');
    await settled();
    expect(page.path).toEqual(['~key: Hi', '~answer: ']);
    expect(page.running.all(1000)).toMatchObject([
      { turnId: null, post: { idempotencyKey: 'key' } },
    ]);
    await page.stream.push(opened, [2, 'token', { text: 'Hel' }]);
    expect(page.path).toEqual(['u: Hi', 't: Hel']);
    expect(page.running.all(1000)).toMatchObject([{ turnId: 't', answeredTurnId: 'u' }]);
    await page.stream.push([3, 'token', { text: 'lo' }], done);
    await sending;
    expect([page.path, page.running.all(1000), liveInView(page.store.get())]).toEqual([
      ['u: Hi', 't: Hello'],
      [],
      null,
    ]);
    expect(page.store.get().open.turns.at(-1)).toMatchObject({
      finish_reason: 'stop',
      usage: USAGE,
    });
  });

  it('names the answer that a message follows, and the model only when one was chosen', async () => {
    const page = new Page().show(turn('1', null), turn('2', '1'));
    void page.turns.send('More');
    await settled();
    page.runner.letGo();
    page.store.set({ model: 'big' });
    void page.turns.send('More');
    await settled();
    expect(page.requests('POST', '/v1/conversations/c/turns')).toEqual([
      { role: 'user', content: 'More', parent_turn_id: '2' },
      { role: 'user', content: 'More', parent_turn_id: '2', model: 'big' },
    ]);
  });

  it('puts an answer that is written again beside the first', async () => {
    const page = new Page().show(turn('1', null), turn('2', '1'));
    void page.turns.regenerate(turn('2', '1'));
    await settled();
    expect(page.requests('POST', '/v1/conversations/c/turns')).toEqual([
      { role: 'user', regenerate_of: '2' },
    ]);
    const last = pathInView(page.store.get()).at(-1);
    expect([last?.turn.turn_id, last?.siblings.length]).toEqual(['~answer', 2]);
    page.conversations.choose('2');
    expect(page.path.at(-1)).toBe('2: text of 2');
    page.conversations.choose('~answer');
    expect(page.path.at(-1)).toBe('~answer: ');
  });

  it('puts an edited message beside the first', async () => {
    const page = new Page().show(turn('1', null), turn('2', '1'));
    void page.turns.edit(turn('1', null), 'Other');
    await page.stream.push(opened);
    expect(page.requests('POST', '/v1/conversations/c/turns')).toEqual([
      { role: 'user', content: 'Other', edit_of: '1' },
    ]);
    expect(page.path).toEqual(['u: Other', 't: ']);
    expect(pathInView(page.store.get())[0]?.siblings).toHaveLength(2);
  });

  it('gives the text of a refused message back, with the reason', async () => {
    const page = new Page().show();
    page.refusals.push(refusal(400, { code: 'context_length_exceeded', message: 'Too long.' }));
    await page.turns.send('Long');
    expect(page.store.get()).toMatchObject({
      returnedText: { text: 'Long' },
      notice: { kind: 'error', text: 'Too long.' },
    });
    expect([page.path, page.running.all(1000)]).toEqual([[], []]);
  });

  it('ends the session when the token is not taken any more', async () => {
    const page = new Page().show();
    page.refusals.push(refusal(401, { code: 'unauthenticated', message: 'Who?' }));
    await page.turns.send('Hi');
    expect(page.store.get().isSignedIn).toBe(false);
  });

  it('shows the answer that another page began, and keeps the message for later', async () => {
    const page = new Page().show();
    page.refusals.push(refusal(409, { code: 'turn_conflict', message: 'Busy.', turn_id: 't' }));
    const sending = page.turns.send('Mine');
    page.stored = [turn('u', null, { content: 'Theirs' })];
    await sending;
    await page.stream.push(opened, [2, 'token', { text: 'For them' }]);
    expect(page.path).toEqual(['u: Theirs', 't: For them']);
    expect(page.store.get()).toMatchObject({
      returnedText: { text: 'Mine' },
      notice: { kind: 'info' },
    });
  });

  it('reads the conversation again when the message that an answer belongs to is not known', async () => {
    const page = new Page().show();
    page.refusals.push(refusal(409, { code: 'turn_conflict', message: 'Busy.', turn_id: 't' }));
    await page.turns.send('Mine');
    await settled();
    page.stored = [turn('u', null, { content: 'Theirs' })];
    await page.stream.push(opened, [2, 'token', { text: 'For them' }], done);
    expect(page.path).toEqual(['u: Theirs', 't: For them']);
  });

  it('takes a turn up after a reload: from its first event, or by its key when it had no name yet', async () => {
    const saved = (more: Partial<RunningTurn>): RunningTurn => ({
      post: { conversationId: 'c', body: { role: 'user', content: 'Hi' }, idempotencyKey: 'key' },
      conversationId: 'c',
      turnId: null,
      userTurn: turn('~key', null, { content: 'Hi' }),
      answeredTurnId: '~key',
      replacesTurnId: null,
      startedAtMs: 1000,
      ...more,
    });
    for (const [turnId, request] of [
      ['t', ['GET', '/v1/conversations/c/turns/t/stream']],
      [null, ['POST', '/v1/conversations/c/turns']],
    ] as const) {
      const page = new Page().show();
      page.running.save(saved({ turnId }));
      page.runner.takeUp();
      await page.stream.push(opened, [4, 'token', { text: 'All of it' }]);
      expect(page.sent.map(({ method, path }) => [method, path])).toContainEqual(request);
      expect(page.path).toEqual(['u: Hi', 't: All of it']);
    }
  });

  it('says nothing of a saved turn whose stream is gone', async () => {
    const page = new Page().show(turn('1', null), turn('2', '1'));
    page.lostStreams.push(refusal(404, { code: 'turn_not_found', message: 'No such turn.' }));
    await page.runner.run({
      post: null,
      conversationId: 'c',
      turnId: '2',
      userTurn: null,
      answeredTurnId: '1',
      replacesTurnId: null,
      startedAtMs: 1000,
    });
    expect([page.store.get().notice, page.path.length, page.running.all(1000)]).toEqual([
      null,
      2,
      [],
    ]);
  });

  it('stops by name, again when the turn had none when it was first asked', async () => {
    const page = new Page().show();
    void page.turns.send('Hi');
    await settled();
    await page.runner.stop();
    await page.stream.push(opened);
    expect(page.requests('POST', '/v1/conversations/c/cancel')).toEqual([{}, { turn_id: 't' }]);
    expect(liveInView(page.store.get())?.isStopping).toBe(true);
  });

  it('takes a message back that the service has not admitted yet', async () => {
    const page = new Page().show();
    page.refusals.push(refusal(429, { code: 'rate_limited', message: 'Slowly.', retry_after: 30 }));
    void page.turns.send('Hi');
    await settled();
    expect(liveInView(page.store.get())?.answer).toMatchObject({
      link: 'delayed',
      retryAtMs: 31_000,
    });
    await page.runner.stop();
    expect([page.path, page.store.get().returnedText]).toEqual([[], { text: 'Hi' }]);
    expect(page.requests('POST', '/v1/conversations/c/cancel')).toEqual([]);
  });

  it('remembers how long the first text took and what an error said', async () => {
    const page = new Page().show();
    void page.turns.send('Hi');
    await page.stream.push(opened);
    page.nowMs = 1250;
    await page.stream.push(
      [2, 'token', { text: 'a' }],
      [3, 'error', { code: 'x', message: 'It broke.' }],
      done,
    );
    expect(page.memory.get('t')).toEqual({ ttftMs: 250, errorMessage: 'It broke.' });
  });

  it('remembers which facts an answer was told, and has them read', async () => {
    const page = new Page().show();
    void page.turns.send('Hi');
    await page.stream.push([1, 'open', { ...OPEN, memory: ['f'] }], done);
    expect(page.memory.get('t')).toMatchObject({ usedFacts: ['f'] });
    expect(page.used).toEqual(['f']);
  });
});

function refusal(status: number, error: object): Response {
  return Response.json({ error }, { status });
}

/** All promises that can go on have gone on; streams take several turns of the loop. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 10; turns += 1) await new Promise((resolve) => setImmediate(resolve));
}
