import type { PostTurn, ResumeTurn } from '../../../web/src/api-client.ts';
import { ApiError } from '../../../web/src/api-error.ts';
import type { Link } from '../../../web/src/link.ts';
import { followTurn } from '../../../web/src/turn-stream.ts';
import type { TurnUpdate } from '../../../web/src/turn-stream.ts';
import { DONE, frames, OPEN } from './turns.ts';
import type { FrameEvent } from './turns.ts';

type Answer = ReadableStream<Uint8Array> | ApiError;
interface Request {
  readonly method: 'POST' | 'GET';
  readonly key: string | null;
  readonly lastEventId: string | null;
}

const POST: PostTurn = {
  conversationId: 'c',
  body: { role: 'user', content: 'hi' },
  idempotencyKey: 'k',
};

/** A service that gives the answers in turn, and a clock that runs out at once unless it is held. */
class World {
  readonly requests: Request[] = [];
  readonly updates: TurnUpdate[] = [];
  readonly waits: number[] = [];
  readonly control = new AbortController();
  isOnline = true;
  #isHeld = false;
  #listeners = new Set<() => void>();
  #timers = new Map<() => void, number>();
  readonly #answers: (Answer | ((signal: AbortSignal) => Answer))[];

  constructor(...answers: (Answer | ((signal: AbortSignal) => Answer))[]) {
    this.#answers = answers;
  }

  follow(start: PostTurn | ResumeTurn = POST): Promise<void> {
    const answer = (request: Request, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> => {
      this.requests.push(request);
      const next = this.#answers.shift();
      const made = typeof next === 'function' ? next(signal) : next;
      return made instanceof ReadableStream
        ? Promise.resolve(made)
        : Promise.reject(made ?? lost());
    };
    const api = {
      postTurn: ({ idempotencyKey }: PostTurn, signal: AbortSignal) =>
        answer({ method: 'POST', key: idempotencyKey, lastEventId: null }, signal),
      resumeTurn: ({ lastEventId }: ResumeTurn, signal: AbortSignal) =>
        answer({ method: 'GET', key: null, lastEventId }, signal),
    };
    return followTurn(
      { api, link: this.#link() },
      start,
      (update) => this.updates.push(update),
      this.control.signal,
    );
  }

  hold(): this {
    this.#isHeld = true;
    return this;
  }

  setOnline(isOnline: boolean): void {
    this.isOnline = isOnline;
    for (const listener of this.#listeners) listener();
  }

  /** Lets the timers of at least `ms` run out. */
  elapse(ms: number): void {
    for (const [callback, length] of this.#timers) if (length <= ms) callback();
  }

  get text(): string {
    return this.updates
      .flatMap((update) =>
        update.type === 'event' && update.event.type === 'token' ? [update.event.data.text] : [],
      )
      .join('');
  }

  /** The kinds of updates in order, tokens left out. */
  get kinds(): string[] {
    return this.updates
      .map((update) => (update.type === 'event' ? update.event.type : update.type))
      .filter((kind) => kind !== 'token');
  }

  #link(): Link {
    return {
      isOnline: () => this.isOnline,
      onChange: (callback) => {
        this.#listeners.add(callback);
        return () => void this.#listeners.delete(callback);
      },
      after: (ms, callback) => {
        const isWait = ms < 45_000;
        if (isWait) this.waits.push(ms);
        this.#timers.set(callback, ms);
        if (isWait && !this.#isHeld) queueMicrotask(callback);
        return () => void this.#timers.delete(callback);
      },
    };
  }
}

describe('followTurn', () => {
  it('reads a turn with several replies to the last one’s done, over lost connections too', async () => {
    const open = { ...OPEN, turn_ids: ['t', 't1'] };
    const world = new World(
      body([1, 'open', open], [2, 'token', { index: 0, text: 'a' }]),
      body([3, 'token', { index: 1, text: 'x' }], [4, 'done', { ...DONE, index: 0 }]),
      body([5, 'done', { ...DONE, index: 1 }]),
    );
    await world.follow();
    expect(world.kinds.filter((kind) => kind === 'done')).toHaveLength(2);
    expect(world.requests.map(({ lastEventId }) => lastEventId)).toEqual([null, '2', '4']);
  });

  it('posts the turn and tells of its events up to done', async () => {
    const world = new World(
      body(
        [1, 'open', OPEN],
        [2, 'token', { text: 'Hel' }],
        [3, 'token', { text: 'lo' }],
        [4, 'done', DONE],
      ),
    );
    await world.follow();
    expect(world.requests).toEqual([{ method: 'POST', key: 'k', lastEventId: null }]);
    expect([world.kinds, world.text]).toEqual([['connected', 'open', 'done'], 'Hello']);
  });

  it('resumes behind the last event it saw when the stream ends without done', async () => {
    const world = new World(
      body([1, 'open', OPEN], [2, 'token', { text: 'Hel' }]),
      body([5, 'token', { text: 'lo' }], [6, 'done', DONE]),
    );
    await world.follow();
    expect(world.requests[1]).toEqual({ method: 'GET', key: null, lastEventId: '2' });
    expect([world.kinds, world.text]).toEqual([
      ['connected', 'open', 'lost', 'connected', 'done'],
      'Hello',
    ]);
  });

  it('posts again under the same key when nothing was heard of the turn', async () => {
    const world = new World(lost(), lost(), body([1, 'open', OPEN], [2, 'done', DONE]));
    await world.follow();
    expect(world.requests.map(({ method, key }) => [method, key])).toEqual([
      ['POST', 'k'],
      ['POST', 'k'],
      ['POST', 'k'],
    ]);
  });

  it('waits longer after each failure, up to a limit, and begins anew after an event', async () => {
    const failures = Array.from({ length: 7 }, lost);
    const world = new World(...failures, body([1, 'open', OPEN]), lost(), body([2, 'done', DONE]));
    await world.follow();
    expect(world.waits).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 500, 1000]);
  });

  it('drops events that it has seen', async () => {
    const world = new World(
      body([1, 'open', OPEN], [2, 'token', { text: 'a' }]),
      body(
        [1, 'open', OPEN],
        [2, 'token', { text: 'a' }],
        [3, 'token', { text: 'b' }],
        [4, 'done', DONE],
      ),
    );
    await world.follow();
    expect(world.text).toBe('ab');
  });

  it('waits as long as the service asks, and tells so', async () => {
    const world = new World(
      refusal(429, 'rate_limited', 7),
      body([1, 'open', OPEN], [2, 'done', DONE]),
    );
    await world.follow();
    expect(world.waits).toEqual([7000]);
    expect(world.updates[0]).toMatchObject({
      type: 'delayed',
      seconds: 7,
      error: { code: 'rate_limited' },
    });
  });

  it('does not take news of the network for leave to come back early', async () => {
    const world = new World(
      refusal(503, 'overloaded', 7),
      body([1, 'open', OPEN], [2, 'done', DONE]),
    ).hold();
    const followed = world.follow();
    await settled();
    world.setOnline(true);
    await settled();
    expect(world.requests).toHaveLength(1);
    world.elapse(7000);
    await followed;
  });

  it('tries at once when the network is back', async () => {
    const world = new World(lost(), body([1, 'open', OPEN], [2, 'done', DONE])).hold();
    const followed = world.follow();
    await settled();
    expect(world.requests).toHaveLength(1);
    world.setOnline(true);
    await followed;
    expect(world.requests).toHaveLength(2);
  });

  it('lets go of a connection when the network goes, and of one that is silent for too long', async () => {
    for (const end of [
      (world: World) => world.setOnline(false),
      (world: World) => world.elapse(45_000),
    ]) {
      const world = new World(hanging([1, 'open', OPEN]), body([2, 'done', DONE]));
      const followed = world.follow();
      await settled();
      expect(world.kinds).toEqual(['connected', 'open']);
      end(world);
      await followed;
      expect(world.requests[1]).toEqual({ method: 'GET', key: null, lastEventId: '1' });
    }
  });

  it('reads from the first event again when its place is not known any more', async () => {
    const world = new World(
      body([1, 'open', OPEN], [9, 'token', { text: 'lost' }]),
      refusal(400, 'invalid_last_event_id', null),
      body([1, 'open', OPEN], [2, 'token', { text: 'new' }], [3, 'done', DONE]),
    );
    await world.follow();
    expect(world.requests[2]?.lastEventId).toBeNull();
    expect(world.kinds).toEqual([
      'connected',
      'open',
      'lost',
      'restart',
      'connected',
      'open',
      'done',
    ]);
  });

  it('gives up on a refusal that no retry can help', async () => {
    const world = new World(refusal(403, 'forbidden', null));
    await expect(world.follow()).rejects.toMatchObject({ code: 'forbidden' });
    expect(world.requests).toHaveLength(1);
  });

  it('takes up a turn that runs already from its first event', async () => {
    const world = new World(
      body([1, 'open', OPEN], [4, 'token', { text: 'all' }], [5, 'done', DONE]),
    );
    await world.follow({ conversationId: 'c', turnId: 't', lastEventId: null });
    expect([world.requests, world.text]).toEqual([
      [{ method: 'GET', key: null, lastEventId: null }],
      'all',
    ]);
  });

  it('ends when it is aborted, while it reads and while it waits', async () => {
    for (const answer of [hanging([1, 'open', OPEN]), lost()]) {
      const world = new World(answer).hold();
      const followed = world.follow();
      await settled();
      world.control.abort();
      await expect(followed).rejects.toMatchObject({ name: 'AbortError' });
    }
  });

  it('passes over events that it does not know and data that it cannot read', async () => {
    const unreadable = 'id: 3\nevent: token\ndata: {"text":\n\n';
    const world = new World(
      bytes(frames([1, 'open', OPEN], [2, 'weather', {}]) + unreadable + frames([4, 'done', DONE])),
    );
    await world.follow();
    expect(world.kinds).toEqual(['connected', 'open', 'done']);
  });
});

function body(...events: readonly FrameEvent[]): ReadableStream<Uint8Array> {
  return bytes(frames(...events));
}

function bytes(text: string): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
}

/** A stream that stays open after its events until its request is aborted. */
function hanging(...events: readonly FrameEvent[]): (signal: AbortSignal) => Answer {
  return (signal) =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(frames(...events)));
        signal.addEventListener('abort', () => controller.error(signal.reason));
      },
    });
}

function lost(): ApiError {
  return refusal(0, 'unreachable', null);
}

function refusal(status: number, code: string, retryAfterSeconds: number | null): ApiError {
  return new ApiError({ status, code, message: code, retryAfterSeconds, turnId: null });
}

/** All promises that can go on have gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
