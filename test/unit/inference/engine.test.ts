import fc from 'fast-check';
import { BlockAllocator } from '../../../inference/block-allocator.ts';
import { StepEngine } from '../../../inference/engine.ts';
import { Scheduler } from '../../../inference/scheduler.ts';
import type { EngineOptions } from '../../../inference/engine.ts';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import {
  expectedTokens,
  GREEDY,
  nextTick,
  runSequence,
  sequenceRequest,
} from '../../helpers/engine-runs.ts';
import type { Ended } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';
import type { FakeExecutorOptions } from '../../helpers/fake-executor.ts';

const OPTIONS: EngineOptions = { maxNumBatchedTokens: 16, maxNumSeqs: 8, contextLength: 1000 };
const silent = { onTokens: () => undefined, onFinish: () => undefined };
const range = (count: number): number[] => Array.from({ length: count }, (_, id) => id);

const engines: StepEngine[] = [];

/** An engine whose blocks are checked after every step; what went wrong is thrown at the end of the test. */
function setUp(
  executorOptions: Partial<FakeExecutorOptions> = {},
  options: Partial<EngineOptions> = {},
) {
  const errors: unknown[] = [];
  const executor = new FakeExecutor({ numBlocks: 64, ...executorOptions });
  const engine = new StepEngine(executor, {
    ...OPTIONS,
    onStep: () => engine.checkIntegrity(),
    onListenerError: (error) => errors.push(error),
    ...options,
  });
  engines.push(engine);
  return { executor, engine, errors };
}

function expectAllFree(engine: StepEngine): void {
  engine.checkIntegrity();
  expect(engine.stats()).toMatchObject({
    waiting: 0,
    running: 0,
    preempted: 0,
    kvBlocks: { used: 0 },
  });
}

afterEach(async () => {
  for (const engine of engines.splice(0)) {
    await engine.close();
    expectAllFree(engine);
  }
});

describe('StepEngine between steps', () => {
  it('ends a sequence that onStep aborts before the next step', async () => {
    const { executor, engine } = setUp({}, { onStep: () => engine.abort('aborted-by-on-step') });
    const request = { ...sequenceRequest([1, 2, 3]), seqId: 'aborted-by-on-step' };
    expect((await runSequence(engine, request)).finish).toEqual({ reason: 'abort' });
    expect(executor.batches).toHaveLength(1);
  });
});

describe('StepEngine output', () => {
  it('generates what the model says, token by token', async () => {
    const { engine } = setUp();
    expect(await runSequence(engine, sequenceRequest([1, 2, 3]))).toEqual({
      tokens: expectedTokens([1, 2, 3], 10),
      finish: { reason: 'length' },
    });
  });

  it('gives every sequence the same tokens whatever the batch, the chunks, the pool and the preemptions', async () => {
    const sampling = fc.record({
      temperature: fc.constantFrom(0, 0.5, 1),
      topP: fc.constantFrom(0.5, 1),
      topK: fc.nat(9),
      seed: fc.nat(99),
      minP: fc.constantFrom(undefined, 0.25),
      repetitionPenalty: fc.constantFrom(undefined, 1.25),
      presencePenalty: fc.constantFrom(undefined, 1),
      logitBias: fc.constantFrom(undefined, [[5, -2]] as const),
      logprobs: fc.constantFrom(undefined, null, 2),
    });
    const one = fc.record({
      prompt: fc.array(fc.nat(999), { minLength: 1, maxLength: 40 }),
      maxTokens: fc.integer({ min: 1, max: 12 }),
      priority: fc.integer({ min: 1, max: 5 }),
      sampling,
    });
    const settings = fc
      .record({
        maxNumSeqs: fc.integer({ min: 1, max: 10 }),
        spare: fc.nat(50),
        numBlocks: fc.integer({ min: 13, max: 60 }),
      })
      .map(({ maxNumSeqs, spare, numBlocks }) => ({
        maxNumSeqs,
        maxNumBatchedTokens: maxNumSeqs + spare,
        numBlocks,
      }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 1, maxLength: 10 }),
        settings,
        async (all, { numBlocks, ...options }) => {
          const { engine, errors } = setUp({ numBlocks }, options);
          const ended = await Promise.all(
            all.map(({ prompt, ...more }) => runSequence(engine, sequenceRequest(prompt, more))),
          );
          expect(ended).toEqual(
            all.map((each) => ({
              tokens: expectedTokens(each.prompt, each.maxTokens, each.sampling),
              finish: { reason: 'length' },
            })),
          );
          expect(errors).toEqual([]);
          expectAllFree(engine);
        },
      ),
      { numRuns: 200 },
    );
  });

  it.each([0, 0.8])(
    'continues an earlier attempt at any token with the same rest, temperature %d',
    async (temperature) => {
      const sampling = { temperature, topP: 0.9, topK: 5, seed: 11, frequencyPenalty: 0.5 };
      const whole = expectedTokens([7, 8, 9], 10, sampling);
      for (let emitted = 0; emitted <= 10; emitted += 1) {
        const { engine } = setUp();
        const request = sequenceRequest([7, 8, 9], {
          outputTokenIds: whole.slice(0, emitted),
          sampling,
        });
        const { tokens, finish } = await runSequence(engine, request);
        expect([...whole.slice(0, emitted), ...tokens]).toEqual(whole);
        expect(finish.reason).toBe('length');
      }
    },
  );

  it('gives the logprobs of each token to who asked, and to nobody else', async () => {
    const { engine, errors } = setUp();
    const heard: { tokenId: number; asked: number | null; logprobs: unknown }[] = [];
    const ask = (logprobs: number | null): SequenceRequest =>
      sequenceRequest([logprobs ?? 7, 8], { maxTokens: 3, sampling: { ...GREEDY, logprobs } });
    for (const asked of [null, 0, 2]) {
      engine.submit(ask(asked), {
        ...silent,
        onTokens: ([tokenId = -1, ...more], logprobs) => {
          expect(more).toEqual([]);
          heard.push({ tokenId, asked, logprobs });
        },
      });
    }
    await engine.drain();
    expect(errors).toEqual([]);
    expect(heard).toHaveLength(9);
    const top = [
      { tokenId: 0, logprob: -0 },
      { tokenId: 1, logprob: -0.125 },
    ];
    for (const { tokenId, asked, logprobs } of heard) {
      expect(logprobs).toEqual(
        asked === null ? undefined : [{ logprob: -tokenId / 8, top: top.slice(0, asked) }],
      );
    }
  });

  it('ends at once with length when an earlier attempt has said everything, and runs nothing', async () => {
    const { engine, executor } = setUp();
    const order: string[] = [];
    engine.submit(sequenceRequest([1], { outputTokenIds: range(10) }), {
      ...silent,
      onFinish: (finish) => order.push(finish.reason),
    });
    order.push('submitted');
    await engine.drain();
    expect(order).toEqual(['submitted', 'length']);
    expect(executor.batches).toHaveLength(0);
  });

  it('stops at a stop id without emitting it', async () => {
    const { engine } = setUp();
    const whole = expectedTokens([5], 10);
    const stop = whole[4] ?? -1;
    expect(await runSequence(engine, sequenceRequest([5], { stopTokenIds: [stop] }))).toEqual({
      tokens: whole.slice(0, whole.indexOf(stop)),
      finish: { reason: 'stop' },
    });
  });

  it('ends with length at the end of the context', async () => {
    const { engine } = setUp({}, { contextLength: 8 });
    const { tokens, finish } = await runSequence(
      engine,
      sequenceRequest([1, 2, 3], { maxTokens: 100 }),
    );
    expect(tokens).toHaveLength(5);
    expect(finish.reason).toBe('length');
  });
});

describe('StepEngine order', () => {
  it('preempts when blocks run out, and ends nobody for it', async () => {
    const { engine } = setUp({ numBlocks: 6 });
    const ended = await Promise.all(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ].map((prompt) => runSequence(engine, sequenceRequest(prompt, { maxTokens: 14 }))),
    );
    expect(ended.map(({ finish }) => finish.reason)).toEqual(['length', 'length', 'length']);
    expect(engine.stats().numPreemptions).toBeGreaterThan(0);
  });

  it.each([
    ['later and equal', 3],
    ['later and more urgent', 1],
  ])(
    'gives a running reply a token in every step while a long prompt that is %s runs in chunks',
    async (_name, priority) => {
      const { engine, executor } = setUp({ numBlocks: 200 });
      const long: Promise<Ended>[] = [];
      const reply = runSequence(engine, sequenceRequest([1], { maxTokens: 30 }), (count) => {
        if (count === 2)
          long.push(runSequence(engine, sequenceRequest(range(100), { maxTokens: 1, priority })));
      });
      await reply;
      await Promise.all(long);
      const mixed = executor.batches.filter((batch) => batch.contextLens.length === 2);
      expect(mixed.length).toBeGreaterThanOrEqual(6);
      expect(executor.batches.every((batch) => batch.tokenIds.length <= 16)).toBe(true);
      expect(mixed.every((batch) => batch.sampleRows.length >= 1)).toBe(true);
    },
  );

  it('runs smaller priorities first, and equal ones in order of arrival', async () => {
    const { engine } = setUp({}, { maxNumSeqs: 1 });
    const order: string[] = [];
    const note = async (name: string, priority: number): Promise<void> => {
      await runSequence(engine, sequenceRequest([1], { priority, maxTokens: 2 }));
      order.push(name);
    };
    await Promise.all([note('late', 5), note('first', 1), note('early', 3), note('second', 1)]);
    expect(order).toEqual(['first', 'second', 'early', 'late']);
  });

  it('batches what is submitted together into one step', async () => {
    const { engine, executor } = setUp();
    await Promise.all(
      [[1], [2], [3]].map((prompt) => runSequence(engine, sequenceRequest(prompt))),
    );
    expect(executor.batches[0]?.contextLens).toHaveLength(3);
  });

  it('tells of every step what it ran', async () => {
    const steps: unknown[] = [];
    const { engine } = setUp({}, { onStep: (step) => steps.push(step) });
    await runSequence(engine, sequenceRequest(range(20), { maxTokens: 2 }));
    expect(steps).toEqual(
      [
        [16, 0],
        [4, 1],
        [1, 1],
      ].map(([numTokens, numSampled]) => ({
        numTokens,
        numSampled,
        numSeqs: 1,
        numPreempted: 0,
        durationMs: expect.any(Number),
      })),
    );
  });
});

describe('StepEngine abort', () => {
  it('ends a waiting sequence at once', async () => {
    const { engine, executor } = setUp({ isManual: true }, { maxNumSeqs: 1 });
    void runSequence(engine, sequenceRequest([1]));
    await Promise.resolve();
    const request = sequenceRequest([2]);
    const waiting = runSequence(engine, request);
    engine.abort(request.seqId);
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 1 });
    expect(await waiting).toEqual({ tokens: [], finish: { reason: 'abort' } });
    void engine.close();
    executor.releaseStep();
  });

  it.each([
    ['within its prompt', 0],
    ['while it decodes', 4],
  ])(
    'frees the blocks of a sequence %s when its step returns, and not before',
    async (_name, numSteps) => {
      const { engine, executor } = setUp({ isManual: true });
      const request = sequenceRequest(range(30));
      const aborted = runSequence(engine, request);
      await Promise.resolve();
      for (let step = 0; step < numSteps; step += 1) executor.releaseStep();
      expect(executor.hasStepUnderWay).toBe(true);
      engine.abort(request.seqId);
      engine.abort(request.seqId);
      expect(engine.stats().kvBlocks.used).toBeGreaterThanOrEqual(8);
      executor.releaseStep();
      expectAllFree(engine);
      const { tokens, finish } = await aborted;
      expect(tokens).toEqual(expectedTokens(range(30), Math.max(0, numSteps - 1)));
      expect(finish).toEqual({ reason: 'abort' });
    },
  );

  it('ends a preempted sequence at once, and the others go on', async () => {
    const { engine, executor } = setUp({ numBlocks: 6, isManual: true });
    const requests = [
      [1, 2],
      [3, 4],
      [5, 6],
    ].map((prompt) => sequenceRequest(prompt, { maxTokens: 14 }));
    const ended = requests.map((request) => runSequence(engine, request));
    await Promise.resolve();
    while (engine.stats().preempted === 0) executor.releaseStep();
    engine.abort(requests[2]?.seqId ?? '');
    expect(engine.stats().preempted).toBe(0);
    while (executor.hasStepUnderWay) executor.releaseStep();
    const all = await Promise.all(ended);
    expect(all.map(({ finish }) => finish.reason)).toEqual(['length', 'length', 'abort']);
  });

  it('ends a sequence that was to end with length at once, once', async () => {
    const { engine } = setUp();
    const request = sequenceRequest([1], { outputTokenIds: range(10) });
    const ended = runSequence(engine, request);
    engine.abort(request.seqId);
    expect((await ended).finish.reason).toBe('abort');
  });

  it('ignores ids it does not know', () => {
    const { engine } = setUp();
    expect(() => engine.abort('nobody')).not.toThrow();
  });

  it('lets a listener abort its own sequence: no token follows', async () => {
    const { engine } = setUp();
    const request = sequenceRequest([1, 2]);
    const { tokens, finish } = await runSequence(
      engine,
      request,
      (count) => count === 3 && engine.abort(request.seqId),
    );
    expect(tokens).toHaveLength(3);
    expect(finish.reason).toBe('abort');
  });

  it('ends with abort when a listener aborts at the last token', async () => {
    const { engine } = setUp();
    const request = sequenceRequest([1]);
    const abortAtLast = (count: number): void => {
      if (count === 10) engine.abort(request.seqId);
    };
    expect((await runSequence(engine, request, abortAtLast)).finish.reason).toBe('abort');
  });

  it('lets a listener abort another sequence of the same step: that one’s token is dropped', async () => {
    const { engine } = setUp();
    const other = sequenceRequest([2]);
    const first = runSequence(engine, sequenceRequest([1]), () => engine.abort(other.seqId));
    expect(await runSequence(engine, other)).toEqual({ tokens: [], finish: { reason: 'abort' } });
    expect((await first).finish.reason).toBe('length');
  });

  it('lets listeners abort each other as they end', async () => {
    const { engine } = setUp();
    const requests = [[1], [2], [3]].map((prompt) => sequenceRequest(prompt));
    const ends: string[] = [];
    requests.forEach((request, index) => {
      const next = requests[(index + 1) % 3]?.seqId ?? '';
      engine.submit(request, {
        onTokens: () => index === 0 && engine.abort(request.seqId),
        onFinish: ({ reason }) => {
          ends.push(`${index} ${reason}`);
          engine.abort(next);
        },
      });
    });
    await engine.drain();
    expect(ends).toEqual(['0 abort', '1 abort', '2 abort']);
  });

  it('frees every block over random arrivals and aborts in all states', async () => {
    const one = fc.record({
      prompt: fc.array(fc.nat(999), { minLength: 1, maxLength: 30 }),
      priority: fc.integer({ min: 1, max: 3 }),
      delay: fc.nat(6),
      abortAfter: fc.option(fc.nat(12)),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 10, max: 24 }),
        async (plan, numBlocks) => {
          const { engine, errors } = setUp({ numBlocks });
          const ended: Promise<Ended>[] = [];
          for (const { prompt, priority, delay, abortAfter } of plan) {
            for (let wait = 0; wait < delay; wait += 1) await nextTick();
            const request = sequenceRequest(prompt, { priority });
            ended.push(runSequence(engine, request));
            if (abortAfter === null) continue;
            void (async () => {
              for (let wait = 0; wait < abortAfter; wait += 1) await nextTick();
              engine.abort(request.seqId);
            })();
          }
          for (const [index, { tokens, finish }] of (await Promise.all(ended)).entries()) {
            const whole = expectedTokens(plan[index]?.prompt ?? [], 10);
            expect(['abort', 'length']).toContain(finish.reason);
            expect(tokens).toEqual(
              finish.reason === 'abort' ? whole.slice(0, tokens.length) : whole,
            );
          }
          expect(errors).toEqual([]);
          expectAllFree(engine);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('StepEngine failure', () => {
  it.each([
    ['its step fails', { error: new Error('broken') }],
    ['it returns nothing', { sampledIds: null }],
    ['it returns too few tokens', { sampledIds: Int32Array.of(1) }],
    ['it returns an id beyond the vocabulary', { sampledIds: Int32Array.of(1, 1000) }],
  ])(
    'ends every sequence with an error when the executor breaks because %s, and takes no more',
    async (_name, outcome) => {
      const failures: Error[] = [];
      const { engine, executor } = setUp(
        { isManual: true },
        { maxNumSeqs: 2, onFailure: (error) => failures.push(error) },
      );
      const all = [[1], [2], [3]].map((prompt) => runSequence(engine, sequenceRequest(prompt)));
      await Promise.resolve();
      executor.nextOutcome = outcome;
      executor.releaseStep();
      const ended = await Promise.all(all);
      expect(ended).toEqual(
        ended.map(() => ({ tokens: [], finish: { reason: 'error', error: failures[0] } })),
      );
      expectAllFree(engine);
      expect(failures).toHaveLength(1);
      expect(() => engine.submit(sequenceRequest([1]), silent)).toThrow(
        expect.objectContaining({ code: 'GENERATION_FAILED' }),
      );
    },
  );

  it('ends every sequence with an error when the executor refuses a batch, and can be closed', async () => {
    const { engine, executor } = setUp();
    executor.nextThrow = new Error('refused');
    expect((await runSequence(engine, sequenceRequest([1]))).finish).toEqual({
      reason: 'error',
      error: new Error('refused'),
    });
    await engine.close();
    expect(executor.numCloses).toBe(1);
  });

  it('breaks when its blocks are not in order once it is idle', async () => {
    const failures: Error[] = [];
    const { engine } = setUp({}, { onStep: undefined, onFailure: (error) => failures.push(error) });
    const ended = runSequence(engine, sequenceRequest([1]));
    const broken = new Error('a block is lost');
    const spy = jest
      .spyOn(BlockAllocator.prototype, 'checkIntegrity')
      .mockImplementationOnce(() => {
        throw broken;
      });
    expect((await ended).finish.reason).toBe('length');
    expect(failures).toEqual([broken]);
    expect(() => engine.submit(sequenceRequest([1]), silent)).toThrow(
      expect.objectContaining({ code: 'GENERATION_FAILED' }),
    );
    spy.mockRestore();
  });

  it('breaks when it has sequences and none can go on', async () => {
    const { engine } = setUp();
    const spy = jest
      .spyOn(Scheduler.prototype, 'schedule')
      .mockReturnValueOnce({ scheduled: [], preempted: [], dropped: [], held: [], copies: [] });
    expect((await runSequence(engine, sequenceRequest([1]))).finish).toMatchObject({
      reason: 'error',
      error: { code: 'INVARIANT_VIOLATED' },
    });
    spy.mockRestore();
  });

  it('ends every sequence once when the blocks of one cannot be freed', async () => {
    const { engine, executor, errors } = setUp({ isManual: true }, { onStep: undefined });
    const requests = [[1], [2], [3]].map((prompt) => sequenceRequest(prompt));
    const ended = requests.map((request) => runSequence(engine, request));
    await Promise.resolve();
    engine.abort(requests[0]?.seqId ?? '');
    const free = jest.spyOn(BlockAllocator.prototype, 'free').mockImplementationOnce(() => {
      throw new Error('not held');
    });
    executor.releaseStep();
    free.mockRestore();
    expect((await Promise.all(ended)).map(({ finish }) => finish.reason)).toEqual([
      'abort',
      'error',
      'error',
    ]);
    expect(errors).toEqual([]);
    await engine.close();
    expect(executor.numCloses).toBe(1);
    // Its block is lost for good: nothing to check afterwards.
    engines.splice(engines.indexOf(engine), 1);
  });

  it('refuses an id that is live, and takes it again once it has ended', async () => {
    const { engine } = setUp();
    const request = sequenceRequest([1]);
    const first = runSequence(engine, request);
    expect(() => engine.submit(request, silent)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', param: 'seqId' }),
    );
    expect((await first).tokens).toEqual((await runSequence(engine, request)).tokens);
  });

  it('goes on when a listener throws, and tells of it', async () => {
    const { engine, errors } = setUp();
    const other = runSequence(engine, sequenceRequest([2]));
    const fail = (): never => {
      throw new Error('listener');
    };
    engine.submit(sequenceRequest([1]), { onTokens: fail, onFinish: fail });
    expect((await other).finish.reason).toBe('length');
    await engine.drain();
    expect(errors).toHaveLength(11);
  });

  it('goes on when onStep throws, and tells of it', async () => {
    const { engine, errors } = setUp(
      {},
      {
        onStep: () => {
          throw new Error('metrics');
        },
      },
    );
    expect((await runSequence(engine, sequenceRequest([1]))).finish.reason).toBe('length');
    expect(errors).toHaveLength(10);
  });
});

describe('StepEngine end', () => {
  it('drains: what runs ends by itself, what comes is refused', async () => {
    const { engine } = setUp();
    const running = runSequence(engine, sequenceRequest([1]));
    const drained = engine.drain();
    expect(() => engine.submit(sequenceRequest([2]), silent)).toThrow(
      expect.objectContaining({ code: 'OVERLOADED' }),
    );
    await drained;
    expect((await running).finish.reason).toBe('length');
    await engine.drain();
  });

  it('closes the executor once, after the step under way and with every sequence aborted', async () => {
    const { engine, executor } = setUp({ isManual: true });
    const all = [[1], [2]].map((prompt) => runSequence(engine, sequenceRequest(prompt)));
    await Promise.resolve();
    const closed = Promise.all([engine.close(), engine.close()]);
    await nextTick();
    expect(executor.numCloses).toBe(0);
    executor.releaseStep();
    await closed;
    expect((await Promise.all(all)).map(({ finish }) => finish.reason)).toEqual(['abort', 'abort']);
    expect(executor.numCloses).toBe(1);
  });

  it('can be closed from a listener', async () => {
    const { engine, executor } = setUp();
    const closing: Promise<void>[] = [];
    const other = runSequence(engine, sequenceRequest([2]));
    await runSequence(
      engine,
      sequenceRequest([1], { maxTokens: 3 }),
      () => void closing.push(engine.close()),
    );
    await Promise.all(closing);
    expect((await other).finish.reason).toBe('abort');
    expect(executor.numCloses).toBe(1);
  });

  it('runs no step while it has no sequence', async () => {
    const { engine, executor } = setUp();
    await runSequence(engine, sequenceRequest([1]));
    const { length } = executor.batches;
    for (let wait = 0; wait < 5; wait += 1) await nextTick();
    expect(executor.batches).toHaveLength(length);
    expect(engine.stats().numSteps).toBe(length);
  });
});
