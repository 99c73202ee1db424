import { DraftModel } from '../../../inference/draft-model.ts';
import { Sequence } from '../../../inference/sequence.ts';
import { expectedTokens, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };
const PROMPT = Array.from({ length: 10 }, (_, index) => index * 3 + 1);

function setUp(numBlocks = 64) {
  const executor = new FakeExecutor({ numBlocks: 1, draft: { numBlocks } });
  if (executor.draft === null) throw new Error('there is a draft model');
  const { draft } = executor;
  const model = new DraftModel(draft, executor.blockSize);
  const propose = (sequences: readonly Sequence[], count: number, maxTokens = 100) =>
    new Promise<ReadonlyMap<Sequence, readonly number[]>>((resolve, reject) => {
      const requests = sequences.map((sequence) => ({ sequence, count }));
      model.propose(requests, maxTokens, (error, guesses) =>
        error === null ? resolve(guesses) : reject(error),
      );
    });
  const rowsOfLast = (): number[] => [...(draft.batches.at(-1)?.positions ?? [])];
  return { model, propose, rowsOfLast };
}

const sequenceOf = (prompt: readonly number[], tenant = 'one'): Sequence =>
  new Sequence(sequenceRequest(prompt, { cacheScope: { tenant, numSharedTokens: 0 } }), silent, 0);

describe('DraftModel', () => {
  it('guesses what its executor says, and runs again only what turned out otherwise', async () => {
    const { model, propose, rowsOfLast } = setUp();
    const sequence = sequenceOf(PROMPT);
    const expected = expectedTokens(PROMPT, 4);
    expect((await propose([sequence], 4)).get(sequence)).toEqual(expected);
    expect(rowsOfLast()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // All four were right, and a fifth token came with them: the fourth was never run.
    sequence.tokenIds.push(...expected, 77);
    await propose([sequence], 3);
    expect(rowsOfLast()).toEqual([13, 14]);
    // The first was right, the second was not.
    const [first = 0] = expectedTokens(sequence.tokenIds, 1);
    sequence.tokenIds.push(first, 5);
    expect((await propose([sequence], 2)).get(sequence)).toEqual(
      expectedTokens(sequence.tokenIds, 2),
    );
    expect(rowsOfLast()).toEqual([16]);
    model.checkIntegrity([sequence]);
  });

  it('catches up with a long sequence in chunks before it guesses', async () => {
    const { propose, rowsOfLast } = setUp();
    const sequence = sequenceOf(PROMPT);
    expect((await propose([sequence], 2, 6)).size).toBe(0);
    expect(rowsOfLast()).toEqual([0, 1, 2, 3, 4, 5]);
    expect((await propose([sequence], 2, 6)).get(sequence)).toEqual(expectedTokens(PROMPT, 2));
    expect(rowsOfLast()).toEqual([6, 7, 8, 9]);
  });

  it('computes a known beginning once for each tenant', async () => {
    const { model, propose, rowsOfLast } = setUp();
    const [one, again, foreign] = ['one', 'one', 'two'].map((tenant) => sequenceOf(PROMPT, tenant));
    if (one === undefined || again === undefined || foreign === undefined) throw new Error();
    await propose([one], 1);
    model.forget(one);
    await propose([again], 1);
    expect(rowsOfLast()).toEqual([8, 9]);
    await propose([foreign], 1);
    expect(rowsOfLast()).toHaveLength(10);
    model.checkIntegrity([again, foreign]);
  });

  it('guesses nothing for those that its pool has no room for, and frees the blocks of those that are over', async () => {
    // Ten tokens and a guess that is run are eleven: three blocks of four.
    const { model, propose } = setUp(5);
    const [one, other] = [sequenceOf(PROMPT), sequenceOf([9, ...PROMPT])];
    const guesses = await propose([one, other], 2);
    expect([...guesses.keys()]).toEqual([one]);
    model.forget(one);
    expect([...(await propose([other], 2)).keys()]).toEqual([other]);
    model.forget(other);
    model.checkIntegrity([]);
    expect(model.kvBlocks.used).toBe(0);
  });

  it('learns how often it is right, of a sequence and, more slowly, of all', () => {
    const { model } = setUp();
    const [before, sequence] = [model.rateOf(sequenceOf(PROMPT)), sequenceOf(PROMPT)];
    for (let time = 0; time < 5; time += 1) model.settle(sequence, 4, 4);
    expect(model.rateOf(sequenceOf(PROMPT))).toBeGreaterThan(before);
    for (let time = 0; time < 500; time += 1) model.settle(sequence, 4, 0);
    const low = model.rateOf(sequenceOf(PROMPT));
    expect(low).toBeLessThan(0.05);
    for (let time = 0; time < 500; time += 1) model.drift(sequence);
    expect(model.rateOf(sequenceOf(PROMPT))).toBeGreaterThan(low);
  });

  it('refuses blocks of another size', () => {
    const { draft } = new FakeExecutor({ numBlocks: 1, draft: { numBlocks: 1 } });
    expect(() => draft && new DraftModel(draft, 16)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });
});
