import fc from 'fast-check';
import type { SequenceFinish, SequenceRequest } from '../../../contracts/engine.ts';
import { StepEngine } from '../../../inference/engine.ts';
import type { EngineOptions } from '../../../inference/engine.ts';
import { FakeExecutor, nextToken } from '../../helpers/fake-executor.ts';
import type { FakeExecutorOptions } from '../../helpers/fake-executor.ts';

const OPTIONS: EngineOptions = { maxNumBatchedTokens: 16, maxNumSeqs: 8, contextLength: 1000 };

function setUp(executorOptions: Partial<FakeExecutorOptions> = {}, options: Partial<EngineOptions> = {}) {
  const executor = new FakeExecutor({ numBlocks: 64, ...executorOptions });
  const engine = new StepEngine(executor, { ...OPTIONS, ...options });
  return { executor, engine };
}

let counter = 0;
function request(promptTokenIds: number[], more: Partial<SequenceRequest> = {}): SequenceRequest {
  counter += 1;
  return {
    seqId: `seq-${counter}`, promptTokenIds, outputTokenIds: [], maxTokens: 10, stopTokenIds: [], priority: 3,
    sampling: { temperature: 0, topP: 1, topK: 0, seed: 1 }, ...more,
  };
}

interface Ended {
  readonly tokens: number[];
  readonly finish: SequenceFinish;
}

function run(engine: StepEngine, asked: SequenceRequest, onToken?: (count: number) => void): Promise<Ended> {
  const tokens: number[] = [];
  return new Promise((resolve) => {
    let numFinishes = 0;
    engine.submit(asked, {
      onTokens: (ids) => {
        tokens.push(...ids);
        onToken?.(tokens.length);
      },
      onFinish: (finish) => {
        numFinishes += 1;
        expect(numFinishes).toBe(1);
        resolve({ tokens, finish });
      },
    });
  });
}

/** What the fake model says after a prompt, computed without any engine. */
function expected(prompt: readonly number[], count: number): number[] {
  const context = [...prompt];
  for (let index = 0; index < count; index += 1) context.push(nextToken(context, 1000));
  return context.slice(prompt.length);
}

function expectAllFree(engine: StepEngine): void {
  engine.checkIntegrity();
  expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, preempted: 0, kvBlocks: { used: 0 } });
}

const prompts = fc.array(fc.array(fc.nat(999), { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 10 });

describe('StepEngine', () => {
  it('generates what the model says, token by token', async () => {
    const { engine } = setUp();
    expect(await run(engine, request([1, 2, 3]))).toEqual({ tokens: expected([1, 2, 3], 10), finish: { reason: 'length' } });
    expectAllFree(engine);
  });

  it('gives every sequence the same tokens whatever the batch, the chunks, the pool and the preemptions', async () => {
    const settings = fc.record({ maxNumBatchedTokens: fc.integer({ min: 1, max: 64 }), maxNumSeqs: fc.integer({ min: 1, max: 10 }), numBlocks: fc.integer({ min: 13, max: 60 }) });
    await fc.assert(
      fc.asyncProperty(prompts, settings, fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 10, maxLength: 10 }), async (all, { numBlocks, ...options }, priorities) => {
        const { engine } = setUp({ numBlocks }, options);
        const ended = await Promise.all(all.map((prompt, index) => run(engine, request(prompt, { priority: priorities[index] ?? 3 }))));
        expect(ended.map(({ tokens }) => tokens)).toEqual(all.map((prompt) => expected(prompt, 10)));
        expectAllFree(engine);
      }),
      { numRuns: 100 },
    );
  });

  it('preempts when blocks run out, and ends nobody for it', async () => {
    const { engine } = setUp({ numBlocks: 6 });
    const ended = await Promise.all([[1, 2], [3, 4], [5, 6]].map((prompt) => run(engine, request(prompt, { maxTokens: 14 }))));
    expect(ended.map(({ finish }) => finish.reason)).toEqual(['length', 'length', 'length']);
    expect(engine.stats().numPreemptions).toBeGreaterThan(0);
    expectAllFree(engine);
  });

  it('continues an earlier attempt at any token with the same rest', async () => {
    const whole = expected([7, 8, 9], 10);
    for (let emitted = 0; emitted <= 10; emitted += 1) {
      const { engine } = setUp();
      const { tokens, finish } = await run(engine, request([7, 8, 9], { outputTokenIds: whole.slice(0, emitted) }));
      expect([...whole.slice(0, emitted), ...tokens]).toEqual(whole);
      expect(finish.reason).toBe('length');
    }
  });

  it('stops at a stop id without emitting it', async () => {
    const { engine } = setUp();
    const whole = expected([5], 10);
    const { tokens, finish } = await run(engine, request([5], { stopTokenIds: [whole[4] ?? -1] }));
    expect(tokens).toEqual(whole.slice(0, whole.indexOf(whole[4] ?? -1)));
    expect(finish.reason).toBe('stop');
  });

  it('ends with length at the end of the context', async () => {
    const { engine } = setUp({}, { contextLength: 8 });
    const { tokens, finish } = await run(engine, request([1, 2, 3], { maxTokens: 100 }));
    expect(tokens).toHaveLength(5);
    expect(finish.reason).toBe('length');
  });

  it('runs a long prompt in chunks beside a running sequence, which gets a token every step', async () => {
    const { engine, executor } = setUp({ numBlocks: 200 });
    let second: Promise<Ended> | null = null;
    const first = run(engine, request([1], { maxTokens: 12 }), (count) => {
      if (count === 2) second = run(engine, request(Array.from({ length: 100 }, (_, id) => id), { maxTokens: 1 }));
    });
    await first;
    await second;
    const mixed = executor.batches.filter((batch) => batch.contextLens.length === 2);
    expect(mixed.length).toBeGreaterThanOrEqual(6);
    expect(executor.batches.every((batch) => batch.tokenIds.length <= 16)).toBe(true);
    expect(mixed.every((batch) => batch.sampleRows.length >= 1)).toBe(true);
  });

  it('runs smaller priorities first, and equal ones in order of arrival', async () => {
    const { engine } = setUp({}, { maxNumSeqs: 1 });
    const order: string[] = [];
    const note = (name: string, priority: number): Promise<void> => run(engine, request([1], { priority, maxTokens: 2 })).then(() => void order.push(name));
    await Promise.all([note('late', 5), note('first', 1), note('early', 3), note('second', 1)]);
    expect(order).toEqual(['first', 'second', 'early', 'late']);
  });

  it('aborts a waiting sequence at once', async () => {
    const { engine } = setUp({ isManual: true }, { maxNumSeqs: 1 });
    void run(engine, request([1]));
    const asked = request([2]);
    const waiting = run(engine, asked);
    engine.abort(asked.seqId);
    expect(await waiting).toEqual({ tokens: [], finish: { reason: 'abort' } });
  });

  it('aborts a sequence whose step is under way when that step returns, and keeps its blocks until then', async () => {
    const { engine, executor } = setUp({ isManual: true });
    const asked = request(Array.from({ length: 30 }, (_, id) => id));
    const aborted = run(engine, asked);
    await Promise.resolve();
    expect(executor.hasStepUnderWay).toBe(true);
    engine.abort(asked.seqId);
    engine.abort(asked.seqId);
    expect(engine.stats().kvBlocks.used).toBeGreaterThan(0);
    executor.releaseStep();
    expect(await aborted).toEqual({ tokens: [], finish: { reason: 'abort' } });
    expectAllFree(engine);
  });

  it('lets a listener abort its own sequence from onTokens', async () => {
    const { engine } = setUp();
    const asked = request([1, 2]);
    const { tokens, finish } = await run(engine, asked, (count) => count === 3 && engine.abort(asked.seqId));
    expect(tokens).toHaveLength(3);
    expect(finish.reason).toBe('abort');
    expectAllFree(engine);
  });

  it('frees every block over random arrivals and aborts in all states', async () => {
    const plan = fc.array(fc.record({ prompt: fc.array(fc.nat(999), { minLength: 1, maxLength: 30 }), delay: fc.nat(6), abortAfter: fc.option(fc.nat(12)) }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(plan, fc.integer({ min: 10, max: 24 }), async (steps, numBlocks) => {
        const { engine } = setUp({ numBlocks });
        const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
        const ended: Promise<Ended>[] = [];
        for (const { prompt, delay, abortAfter } of steps) {
          for (let wait = 0; wait < delay; wait += 1) await tick();
          const asked = request(prompt);
          ended.push(run(engine, asked));
          if (abortAfter === null) continue;
          void (async () => {
            for (let wait = 0; wait < abortAfter; wait += 1) await tick();
            engine.abort(asked.seqId);
            engine.checkIntegrity();
          })();
        }
        const all = await Promise.all(ended);
        all.forEach(({ tokens, finish }, index) => {
          const whole = expected(steps[index]?.prompt ?? [], 10);
          expect(tokens).toEqual(finish.reason === 'abort' ? whole.slice(0, tokens.length) : whole);
        });
        expectAllFree(engine);
      }),
      { numRuns: 60 },
    );
  });

  it('ends every sequence with an error when the executor fails, and takes no more', async () => {
    const { engine, executor } = setUp({ isManual: true });
    const both = [run(engine, request([1])), run(engine, request([2]))];
    await Promise.resolve();
    executor.nextError = new Error('broken');
    executor.releaseStep();
    expect((await Promise.all(both)).map(({ finish }) => finish.reason)).toEqual(['error', 'error']);
    expectAllFree(engine);
    expect(() => engine.submit(request([1]), { onTokens: () => undefined, onFinish: () => undefined })).toThrow(expect.objectContaining({ code: 'GENERATION_FAILED' }));
  });

  it('goes on when a listener throws, and tells of it', async () => {
    const errors: unknown[] = [];
    const { engine } = setUp({}, { onListenerError: (error) => errors.push(error) });
    const other = run(engine, request([2]));
    engine.submit(request([1]), {
      onTokens: () => {
        throw new Error('listener');
      },
      onFinish: () => undefined,
    });
    expect((await other).finish.reason).toBe('length');
    await engine.drain();
    expect(errors).toHaveLength(10);
  });

  it.each([
    ['no prompt', { promptTokenIds: [] }, 'INVALID_REQUEST'],
    ['an id beyond the vocabulary', { promptTokenIds: [1000] }, 'INVALID_REQUEST'],
    ['a fractional id', { promptTokenIds: [0.5] }, 'INVALID_REQUEST'],
    ['no output', { maxTokens: 0 }, 'INVALID_REQUEST'],
    ['a seed that is too large', { sampling: { temperature: 1, topP: 1, topK: 0, seed: 2 ** 32 } }, 'INVALID_REQUEST'],
    ['a temperature that is no number', { sampling: { temperature: NaN, topP: 1, topK: 0, seed: 1 } }, 'INVALID_REQUEST'],
    ['an empty nucleus', { sampling: { temperature: 1, topP: 0, topK: 0, seed: 1 } }, 'INVALID_REQUEST'],
    ['a prompt beyond the context', { promptTokenIds: Array.from({ length: 1000 }, () => 1) }, 'CONTEXT_LENGTH_EXCEEDED'],
    ['more than the pool holds', { maxTokens: 400 }, 'CONTEXT_LENGTH_EXCEEDED'],
  ])('refuses %s', (_name, fields, code) => {
    const { engine } = setUp();
    expect(() => engine.submit({ ...request([1]), ...fields }, { onTokens: () => undefined, onFinish: () => undefined })).toThrow(expect.objectContaining({ code }));
    expectAllFree(engine);
  });

  it('closes the executor once everything has ended', async () => {
    const { engine, executor } = setUp();
    const asked = run(engine, request([1]));
    await engine.close();
    expect((await asked).finish.reason).toBe('abort');
    expect(executor.isClosed).toBe(true);
  });
});
