import fc from 'fast-check';
import { AppError } from '../../../../contracts/errors.ts';
import type { SequenceFinish } from '../../../../contracts/engine.ts';
import { RemoteEngine } from '../../../../inference/remote/remote-engine.ts';
import type {
  RemoteClient,
  RemoteEngineOptions,
  RemoteTokens,
} from '../../../../inference/remote/remote-engine.ts';
import { nextTick, runSequence, sequenceRequest } from '../../../helpers/engine-runs.ts';

const engines: RemoteEngine[] = [];

afterEach(async () => {
  for (const engine of engines.splice(0)) {
    await engine.close();
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0 });
  }
});

function engineOn(client: RemoteClient, more: Partial<RemoteEngineOptions> = {}): RemoteEngine {
  const engine = new RemoteEngine({
    client,
    maxNumSeqs: 2,
    contextLength: 100,
    vocabSize: 1000,
    unsupportedParam: ({ topK }) => (topK === 99 ? 'topK' : null),
    unavailableMs: 5000,
    ...more,
  });
  engines.push(engine);
  return engine;
}

function tokens(...tokenIds: number[]): RemoteTokens {
  return { tokenIds, finish: null, usage: null };
}

function end(finish: 'stop' | 'length'): RemoteTokens {
  return { tokenIds: [], finish, usage: null };
}

/** A client that says the same whatever it is asked. */
function saying(...chunks: (RemoteTokens | AppError)[]): RemoteClient {
  return async function* () {
    for (const chunk of chunks) {
      await nextTick();
      if (chunk instanceof AppError) throw chunk;
      yield chunk;
    }
  };
}

/** A client whose sequences run until the test lets them end. */
function held(): { client: RemoteClient; started: string[]; release: (seqId: string) => void } {
  const started: string[] = [];
  const releases = new Map<string, () => void>();
  const client: RemoteClient = async function* (request, signal) {
    started.push(request.seqId);
    yield tokens(7);
    await new Promise<void>((resolve) => {
      releases.set(request.seqId, resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    yield end('stop');
  };
  return { client, started, release: (seqId) => releases.get(seqId)?.() };
}

const silent = { onTokens: () => undefined, onFinish: () => undefined };

function busy(retryAfterSeconds?: number): AppError {
  return new AppError('OVERLOADED', retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
}

describe('RemoteEngine', () => {
  it('passes tokens on in order and ends as the server does', async () => {
    const engine = engineOn(saying(tokens(1, 2), tokens(), tokens(3), end('stop')));
    expect(await runSequence(engine, sequenceRequest([5]))).toEqual({
      tokens: [1, 2, 3],
      finish: { reason: 'stop' },
    });
    expect(engine.stats()).toMatchObject({ numSteps: 4, lastTokenAtMs: expect.any(Number) });
  });

  it('emits no ending id, nor what follows it', async () => {
    const client = saying(tokens(1, 9, 2), tokens(3));
    const request = sequenceRequest([5], { stopTokenIds: [9] });
    expect(await runSequence(engineOn(client), request)).toEqual({
      tokens: [1],
      finish: { reason: 'stop' },
    });
  });

  it('cuts a server off that says more than was asked for', async () => {
    const client = saying(tokens(1, 2), tokens(3, 4, 5), tokens(6), end('length'));
    const request = sequenceRequest([5], { maxTokens: 6, outputTokenIds: [8, 8] });
    expect(await runSequence(engineOn(client), request)).toEqual({
      tokens: [1, 2, 3, 4],
      finish: { reason: 'length' },
    });
  });

  it('asks nothing when the reply has its length already', async () => {
    const client = saying(tokens(1));
    const request = sequenceRequest([5], { maxTokens: 2, outputTokenIds: [8, 8] });
    expect(await runSequence(engineOn(client), request)).toEqual({
      tokens: [],
      finish: { reason: 'length' },
    });
  });

  it('hears the usage that follows the end', async () => {
    const usage = { promptTokens: 30, cachedTokens: 16 };
    const engine = engineOn(saying(tokens(1), end('stop'), { ...tokens(), usage }));
    const numCached = await new Promise<number>((resolve) =>
      engine.submit(sequenceRequest([5]), {
        onTokens: () => undefined,
        onFinish: (_, count) => resolve(count),
      }),
    );
    expect(numCached).toBe(16);
    expect(engine.stats().prefixCache).toEqual({ queriedTokens: 30, hitTokens: 16 });
  });

  it('forgives a connection that breaks after the end', async () => {
    const engine = engineOn(saying(tokens(1), end('stop'), new AppError('GENERATION_FAILED')));
    expect((await runSequence(engine, sequenceRequest([5]))).finish).toEqual({ reason: 'stop' });
  });

  it.each([
    ['error', 'GENERATION_FAILED'],
    ['refused', 'GENERATION_TIMEOUT'],
    ['refused', 'INVALID_REQUEST'],
    ['refused', 'INVARIANT_VIOLATED'],
    ['refused', 'OVERLOADED'],
  ] as const)('ends with %s when a stream fails with %s in its middle', async (reason, code) => {
    const engine = engineOn(saying(tokens(1), new AppError(code)));
    const { tokens: heard, finish } = await runSequence(engine, sequenceRequest([5]));
    expect(heard).toEqual([1]);
    expect(finish).toMatchObject({ reason, error: { code } });
  });

  it('takes a stream without an end for a failure', async () => {
    const { finish } = await runSequence(engineOn(saying(tokens(1))), sequenceRequest([5]));
    expect(finish).toMatchObject({ reason: 'error', error: { code: 'GENERATION_FAILED' } });
  });

  it('asks a busy server again, and counts the sequence as waiting until it answers', async () => {
    let numAsked = 0;
    const waiting: number[] = [];
    const engine: RemoteEngine = engineOn(async function* () {
      numAsked += 1;
      if (numAsked < 3) {
        setImmediate(() => waiting.push(engine.stats().waiting));
        throw busy();
      }
      yield tokens(1);
      yield end('stop');
    });
    const { finish } = await runSequence(engine, sequenceRequest([5]));
    expect(finish).toEqual({ reason: 'stop' });
    expect(numAsked).toBe(3);
    expect(waiting).toEqual([1, 1]);
  });

  it('gives a busy server up when it asks for more time than there is', async () => {
    const engine = engineOn(saying(busy(3600)));
    const { finish } = await runSequence(engine, sequenceRequest([5]));
    expect(finish).toMatchObject({ reason: 'refused', error: { code: 'OVERLOADED' } });
  });

  it('runs so many at once, the others in order of priority, then of arrival', async () => {
    const { client, started, release } = held();
    const engine = engineOn(client);
    const ends: Promise<unknown>[] = [];
    for (const [seqId, priority] of [
      ['a', 3],
      ['b', 3],
      ['c', 4],
      ['d', 1],
      ['e', 3],
    ] as const)
      ends.push(runSequence(engine, sequenceRequest([5], { seqId, priority })));
    await nextTick();
    expect(started).toEqual(['d', 'a']);
    expect(engine.stats()).toMatchObject({ running: 2, waiting: 3 });
    for (const [ended, next] of [
      ['a', 'b'],
      ['d', 'e'],
      ['b', 'c'],
    ] as const) {
      release(ended);
      await nextTick();
      expect(started.at(-1)).toBe(next);
    }
    for (const seqId of ['c', 'e']) release(seqId);
    await Promise.all(ends);
  });

  it('ends an aborted sequence at once, waiting, running or pausing, and frees its place', async () => {
    const { client, started } = held();
    const engine = engineOn(client, { maxNumSeqs: 1 });
    const [running, waiting] = [sequenceRequest([5]), sequenceRequest([5])];
    const ends = [runSequence(engine, running), runSequence(engine, waiting)];
    await nextTick();
    expect(started).toEqual([running.seqId]);
    engine.abort(waiting.seqId);
    engine.abort(running.seqId);
    engine.abort('unknown');
    for (const ended of await Promise.all(ends)) expect(ended.finish).toEqual({ reason: 'abort' });
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0 });

    const away = engineOn(saying(busy(1)), { maxNumSeqs: 1 });
    const pausing = sequenceRequest([5]);
    const ended = runSequence(away, pausing);
    await nextTick();
    await nextTick();
    away.abort(pausing.seqId);
    expect((await ended).finish).toEqual({ reason: 'abort' });
  });

  it('asks the server once for each of several replies, with its own seed, and can end one alone', async () => {
    const seeds: number[] = [];
    const client: RemoteClient = async function* ({ sampling, numSamples }) {
      expect(numSamples).toBe(1);
      seeds.push(sampling.seed);
      for (let at = 0; at < 4; at += 1) {
        await nextTick();
        yield tokens(10 * sampling.seed + at);
      }
      yield end('stop');
    };
    const engine = engineOn(client, { maxNumSeqs: 2 });
    const request = sequenceRequest([5], {
      numSamples: 3,
      sampling: { temperature: 1, topP: 1, topK: 0, seed: 4 },
    });
    const replies: number[][] = [[], [], []];
    const reasons: string[] = [];
    await new Promise<void>((resolve) => {
      engine.submit(request, {
        onTokens: (ids, _logprobs, sampleIndex = 0) => {
          replies[sampleIndex]?.push(...ids);
          if (replies[1]?.length === 2) engine.abort(request.seqId, 1);
        },
        onFinish: ({ reason }, _cached, sampleIndex = 0) => {
          reasons[sampleIndex] = reason;
          if (Object.keys(reasons).length === 3) resolve();
        },
      });
      expect(() => engine.submit(request, silent)).toThrow('live');
    });
    expect(seeds).toEqual([4, 5, 6]);
    expect(replies).toEqual([
      [40, 41, 42, 43],
      [50, 51],
      [60, 61, 62, 63],
    ]);
    expect(reasons).toEqual(['stop', 'abort', 'stop']);
  });

  it('lets a listener abort from within its tokens', async () => {
    const engine = engineOn(saying(tokens(1), tokens(2), end('stop')));
    const request = sequenceRequest([5]);
    const { tokens: heard, finish } = await runSequence(engine, request, () =>
      engine.abort(request.seqId),
    );
    expect({ heard, finish }).toEqual({ heard: [1], finish: { reason: 'abort' } });
  });

  it('goes on when a listener throws, and tells of it', async () => {
    const errors: unknown[] = [];
    const engine = engineOn(saying(tokens(1), end('stop')), {
      onListenerError: (error) => errors.push(error),
    });
    await new Promise<void>((resolve) =>
      engine.submit(sequenceRequest([5]), {
        onTokens: () => {
          throw new Error('a bug');
        },
        onFinish: () => resolve(),
      }),
    );
    expect(errors).toEqual([new Error('a bug')]);
  });

  it('refuses at once what can never run, an id that is live, and anything once it drains', async () => {
    const { client, release } = held();
    const engine = engineOn(client);
    const listener = { onTokens: () => undefined, onFinish: () => undefined };
    const submitting = (request: ReturnType<typeof sequenceRequest>) => () =>
      engine.submit(request, listener);
    const long = sequenceRequest(Array.from({ length: 100 }, () => 1));
    expect(submitting(long)).toThrow(expect.objectContaining({ code: 'CONTEXT_LENGTH_EXCEEDED' }));
    expect(submitting(sequenceRequest([1000]))).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
    const sampling = { temperature: 0, topP: 1, topK: 99, seed: 1 };
    expect(submitting(sequenceRequest([5], { sampling }))).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', param: 'topK' }),
    );
    const live = sequenceRequest([5]);
    const ended = runSequence(engine, live);
    expect(submitting(live)).toThrow(expect.objectContaining({ param: 'seqId' }));
    await nextTick();
    let isDrained = false;
    const drained = engine.drain().then(() => (isDrained = true));
    expect(submitting(sequenceRequest([5]))).toThrow(
      expect.objectContaining({ code: 'OVERLOADED' }),
    );
    await nextTick();
    expect(isDrained).toBe(false);
    release(live.seqId);
    await Promise.all([ended, drained]);
  });

  it('tells every sequence of one end and never exceeds its bound, whatever servers and callers do', async () => {
    const script = fc.record({
      priority: fc.nat(3),
      says: fc.array(
        fc.oneof(
          fc.constant(tokens(1)),
          fc.constant(tokens(1, 9, 2)),
          fc.constant(end('stop')),
          fc.constant(end('length')),
          fc.constant(new AppError('GENERATION_FAILED')),
          fc.constant(new AppError('INVALID_REQUEST')),
        ),
        { maxLength: 5 },
      ),
      abortAfterTicks: fc.option(fc.nat(8)),
      submitAfterTicks: fc.nat(4),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(script, { maxLength: 12 }),
        fc.integer({ min: 1, max: 3 }),
        async (scripts, bound) => {
          let active = 0;
          let most = 0;
          const saysOf = new Map<string, (RemoteTokens | AppError)[]>();
          const engine = engineOn(
            async function* (request, signal) {
              active += 1;
              most = Math.max(most, active);
              const leave = (): number => (active -= 1);
              signal.addEventListener('abort', leave, { once: true });
              yield* saying(...(saysOf.get(request.seqId) ?? []))(request, signal);
            },
            { maxNumSeqs: bound },
          );
          const ends = scripts.map(
            async ({ priority, says, abortAfterTicks, submitAfterTicks }) => {
              for (let tick = 0; tick < submitAfterTicks; tick += 1) await nextTick();
              const request = sequenceRequest([5], { priority, stopTokenIds: [9], maxTokens: 3 });
              saysOf.set(request.seqId, says);
              const ended = runSequence(engine, request);
              for (let tick = 0; tick < (abortAfterTicks ?? 0); tick += 1) await nextTick();
              if (abortAfterTicks !== null) engine.abort(request.seqId);
              return ended;
            },
          );
          for (const { finish, tokens: heard } of await Promise.all(ends)) {
            expect(['stop', 'length', 'abort', 'error', 'refused']).toContain<
              SequenceFinish['reason']
            >(finish.reason);
            expect(heard.length).toBeLessThanOrEqual(3);
            expect(heard).not.toContain(9);
          }
          expect(most).toBeLessThanOrEqual(bound);
          expect(active).toBe(0);
          expect(engine.stats()).toMatchObject({ running: 0, waiting: 0 });
        },
      ),
      { numRuns: 100 },
    );
  });
});
