import fc from 'fast-check';
import type { CacheScope } from '../../../contracts/engine.ts';
import { BlockAllocator } from '../../../inference/block-allocator.ts';
import { StepEngine } from '../../../inference/engine.ts';
import { PrefixCache } from '../../../inference/prefix-cache.ts';
import { Sequence } from '../../../inference/sequence.ts';
import { expectedTokens, runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };
const range = (count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, index) => from + index);
const scope = (tenant: string, numSharedTokens = 0): CacheScope => ({ tenant, numSharedTokens });

/** A cache over blocks of 4, and a sequence computed into it. */
function setUp(numBlocks = 16) {
  const blocks: BlockAllocator = new BlockAllocator(numBlocks, (id) => cache.forget(id));
  const cache = new PrefixCache(blocks, 4);
  const sequence = (tokenIds: number[], cacheScope: CacheScope | null = scope('one')): Sequence =>
    new Sequence(sequenceRequest(tokenIds, { cacheScope }), silent, 0);
  const compute = (tokenIds: number[], cacheScope?: CacheScope | null): Sequence => {
    const computed = sequence(tokenIds, cacheScope);
    computed.appendBlocks(blocks.allocate(Math.ceil(tokenIds.length / 4)) ?? []);
    computed.numComputedTokens = tokenIds.length;
    cache.register(computed);
    return computed;
  };
  const numHits = (tokenIds: number[], cacheScope?: CacheScope | null): number =>
    cache.match(sequence(tokenIds, cacheScope)).length;
  /** Tokens found, those within a block included. */
  const numFound = (tokenIds: number[], cacheScope?: CacheScope | null): number => {
    const asked = sequence(tokenIds, cacheScope);
    const { length } = cache.match(asked);
    return length * 4 + (cache.matchStart(asked, length)?.numTokens ?? 0);
  };
  return { blocks, cache, compute, numHits, numFound };
}

describe('PrefixCache', () => {
  it('finds the full blocks of an equal beginning, up to the first that differs', () => {
    const { compute, numHits } = setUp();
    compute(range(14));
    expect(numHits([...range(12), 99, 98])).toBe(3);
    expect(numHits([...range(8), 99, ...range(8)])).toBe(2);
    expect(numHits([99, ...range(14)])).toBe(0);
  });

  it('leaves at least one token to compute, for its row is sampled', () => {
    const { compute, numHits } = setUp();
    compute(range(12));
    expect(numHits(range(12))).toBe(2);
    expect(numHits(range(13))).toBe(3);
  });

  it('does not find equal tokens behind another beginning', () => {
    const { compute, numHits } = setUp();
    compute([...range(4), ...range(4, 50)]);
    expect(numHits([...range(4, 10), ...range(4, 50), 1])).toBe(0);
  });

  it('never finds what another tenant computed, but for the first tokens that all send alike', () => {
    const { compute, numHits } = setUp();
    compute(range(14), scope('one', 9));
    expect(numHits(range(14), scope('two', 9))).toBe(2);
    expect(numHits(range(14), scope('two', 0))).toBe(0);
    expect(numHits(range(14), scope('one', 9))).toBe(3);
  });

  it('neither finds nor keeps anything of a sequence without a scope', () => {
    const { compute, numHits } = setUp();
    compute(range(14), null);
    expect(numHits(range(14), null)).toBe(0);
    expect(numHits(range(14))).toBe(0);
    compute(range(14));
    expect(numHits(range(14), null)).toBe(0);
  });

  it('forgets a block when its memory is taken for something else', () => {
    const { blocks, compute, numHits } = setUp(4);
    const computed = compute(range(14));
    blocks.free(computed.takeBlocks().reverse());
    expect(numHits(range(14))).toBe(3);
    blocks.allocate(2);
    expect(numHits(range(14))).toBe(2);
  });

  it('keeps the first of two equal blocks under the name', () => {
    const { compute, cache } = setUp();
    const first = compute(range(9));
    compute(range(9));
    expect(cache.match(new Sequence(sequenceRequest(range(9)), silent, 0))).toEqual(
      first.blockTable.slice(0, 2),
    );
  });

  it('goes on within a block that begins alike, to the last token but one', () => {
    const { compute, numFound } = setUp();
    compute(range(12));
    expect(numFound([...range(6), 99, 98, 97])).toBe(6);
    expect(numFound([...range(11), 99, 98])).toBe(11);
    expect(numFound(range(8))).toBe(7);
    expect(numFound([...range(3), 99])).toBe(3);
    expect(numFound([99, ...range(3)])).toBe(0);
  });

  it('finds the beginning of a block that another tenant computed only where all send it alike to its end', () => {
    const { compute, numFound } = setUp();
    compute(range(12), scope('one', 8));
    expect(numFound([...range(6), 99], scope('two', 8))).toBe(6);
    expect(numFound([...range(6), 99], scope('two', 7))).toBe(4);
    expect(numFound([...range(10), 99], scope('two', 12))).toBe(8);
    expect(numFound([...range(10), 99], scope('one', 8))).toBe(10);
  });

  it('knows the last block of a sequence that has ended by its beginning, until its memory is taken', () => {
    const { blocks, cache, compute, numHits, numFound } = setUp(3);
    const computed = compute(range(11));
    expect(numFound(range(11))).toBe(8);
    cache.registerLast(computed);
    blocks.free(computed.takeBlocks().reverse());
    expect(numFound([...range(11), 99])).toBe(11);
    expect(numHits([...range(11), 99])).toBe(2);
    expect(blocks.numCached).toBe(3);
    blocks.allocate(1);
    expect(numFound([...range(11), 99])).toBe(8);
  });

  it('does not give away a last block that another sequence still writes', () => {
    const { blocks, cache, compute, numFound } = setUp();
    const computed = compute(range(11));
    blocks.fork(computed.blockTable);
    cache.registerLast(computed);
    expect(numFound([...range(11), 99])).toBe(8);
  });
});

describe('an engine with a prefix cache', () => {
  const engineOf = (numBlocks: number, maxNumSeqs = 8) => {
    const executor = new FakeExecutor({ numBlocks });
    const engine = new StepEngine(executor, {
      maxNumBatchedTokens: 16,
      maxNumSeqs,
      contextLength: 1000,
      onStep: () => engine.checkIntegrity(),
    });
    return { executor, engine };
  };

  it('computes only the last token of a repeated prompt, and says how many tokens it spared', async () => {
    const { executor, engine } = engineOf(64);
    const cached: number[] = [];
    for (let time = 0; time < 2; time += 1) {
      await new Promise<void>((resolve) =>
        engine.submit(sequenceRequest(range(30), { maxTokens: 1 }), {
          onTokens: () => undefined,
          onFinish: (_finish, numCachedTokens) => {
            cached.push(numCachedTokens);
            resolve();
          },
        }),
      );
    }
    expect(cached).toEqual([0, 29]);
    expect(executor.batches.map(({ tokenIds }) => tokenIds.length)).toEqual([16, 14, 1]);
    expect(engine.stats()).toMatchObject({
      kvBlocks: { used: 0, cached: 9, free: 55 },
      prefixCache: { queriedTokens: 60, hitTokens: 29 },
    });
    await engine.close();
  });

  it('reuses the blocks of a reply in the next turn of its conversation', async () => {
    const { executor, engine } = engineOf(64);
    const { tokens } = await runSequence(engine, sequenceRequest(range(10), { maxTokens: 11 }));
    const numBefore = executor.batches.length;
    await runSequence(engine, sequenceRequest([...range(10), ...tokens, 5, 6], { maxTokens: 1 }));
    expect(executor.batches[numBefore]?.tokenIds).toHaveLength(23 - 20);
    await engine.close();
  });

  it('changes no token, whatever is shared, evicted, preempted and by whom', async () => {
    const one = fc.record({
      stem: fc.nat(2),
      stemLength: fc.nat(24),
      tail: fc.array(fc.nat(999), { minLength: 1, maxLength: 10 }),
      maxTokens: fc.integer({ min: 1, max: 12 }),
      tenant: fc.constantFrom('one', 'two', null),
      numSharedTokens: fc.nat(20),
      delay: fc.nat(6),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 2, maxLength: 12 }),
        fc.integer({ min: 13, max: 40 }),
        fc.integer({ min: 1, max: 8 }),
        async (all, numBlocks, maxNumSeqs) => {
          const { engine } = engineOf(numBlocks, maxNumSeqs);
          const prompts = all.map(({ stem, stemLength, tail }) => [
            ...range(stemLength, stem * 100),
            ...tail,
          ]);
          const ended = await Promise.all(
            all.map(async ({ maxTokens, tenant, numSharedTokens, delay }, index) => {
              for (let tick = 0; tick < delay; tick += 1)
                await new Promise((resolve) => setImmediate(resolve));
              const cacheScope = tenant === null ? null : { tenant, numSharedTokens };
              return runSequence(
                engine,
                sequenceRequest(prompts[index] ?? [], { maxTokens, cacheScope }),
              );
            }),
          );
          expect(ended.map(({ tokens }) => tokens)).toEqual(
            all.map(({ maxTokens }, index) => expectedTokens(prompts[index] ?? [], maxTokens)),
          );
          await engine.close();
          expect(engine.stats().kvBlocks.used).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });
});
