import fc from 'fast-check';
import { StepEngine } from '../../../inference/engine.ts';
import { Sequence } from '../../../inference/sequence.ts';
import { Speculator } from '../../../inference/speculator.ts';
import { StepCost } from '../../../inference/step-cost.ts';
import { expectedTokens, runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { makeStepsEqual } from '../../helpers/equal-steps.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };
const sequenceOf = (tokenIds: number[]): Sequence =>
  new Sequence(sequenceRequest(tokenIds), silent, 0);
const alone = () => ({ numRows: 1, numTokens: 1 });

describe('Speculator', () => {
  it('guesses what followed the same tokens before', () => {
    const draft = new Speculator(2).draft(sequenceOf([1, 2, 3, 4, 9, 1, 2]), alone(), 100);
    expect(draft?.tokenIds).toEqual([3, 4]);
    expect(draft?.kinds).toHaveLength(2);
  });

  it.each([
    ['off', 0, 100],
    ['without room', 8, 0],
  ])('guesses nothing when it is %s', (_name, maxDraftTokens, room) => {
    expect(
      new Speculator(maxDraftTokens).draft(sequenceOf([1, 2, 3, 1, 2]), alone(), room),
    ).toBeNull();
  });

  it('guesses further ahead the more often it was right, and at last not at all when it was wrong', () => {
    const lengthAfter = (numAccepted: number): number => {
      const speculator = new Speculator(16);
      const sequence = sequenceOf([1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
      for (let time = 0; time < 60; time += 1) {
        const draft = speculator.draft(sequence, alone(), 16);
        if (draft !== null) speculator.settle(sequence, draft, numAccepted * draft.tokenIds.length);
      }
      return speculator.draft(sequence, alone(), 16)?.tokenIds.length ?? 0;
    };
    expect(lengthAfter(1)).toBe(16);
    expect(lengthAfter(0)).toBe(0);
  });

  it('guesses less, then nothing, the fuller the batch is', () => {
    const lengths = [1, 2, 4, 8, 32].map((numSeqs) => {
      const plan = { numRows: numSeqs, numTokens: numSeqs };
      return new Speculator(16).draft(sequenceOf([1, 2, 3, 1, 2]), plan, 16)?.tokenIds.length ?? 0;
    });
    expect(lengths).toEqual([...lengths].sort((one, other) => other - one));
    expect(lengths[0]).toBeGreaterThan(1);
    expect(lengths.at(-1)).toBe(0);
  });

  it('guesses as far as a step costs no more, wherever the next row is dear', () => {
    const cost = new StepCost();
    // Kernels that take four rows at the price of one.
    const msOf = (numRows: number): number => 10 * Math.ceil(numRows / 4);
    for (let step = 0; step < 400; step += 1) cost.observe(1 + (step % 12), msOf(1 + (step % 12)));
    const speculator = new Speculator(16, cost);
    const ids = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3];
    for (const numRows of [1, 2, 4]) {
      const draft = speculator.draft(sequenceOf(ids), { numRows, numTokens: numRows }, 16);
      expect((numRows + (draft?.tokenIds.length ?? 0)) % 4).toBe(0);
    }
  });

  it('counts what it has added to the step, so that sequences do not all guess at once', () => {
    const plan = alone();
    const draft = new Speculator(16).draft(sequenceOf([1, 2, 3, 1, 2]), plan, 16);
    expect(plan.numRows).toBe(1 + (draft?.tokenIds.length ?? 0));
    expect(plan.numTokens).toBeGreaterThan(1);
  });
});

describe('an engine that speculates', () => {
  /** A vocabulary so small that the fake model repeats itself, and guesses are often right. */
  const engineOf = (numBlocks: number, vocabSize = 3) => {
    const executor = new FakeExecutor({ numBlocks, vocabSize });
    const engine = new StepEngine(executor, {
      maxNumBatchedTokens: 24,
      maxNumSeqs: 6,
      contextLength: 200,
      maxDraftTokens: 8,
      onStep: () => engine.checkIntegrity(),
    });
    return { executor, engine };
  };

  it('gives the tokens of plain decoding, greedy and sampled, whatever is guessed, refused, preempted or cut short', async () => {
    const one = fc.record({
      prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 30 }),
      maxTokens: fc.integer({ min: 1, max: 20 }),
      temperature: fc.constantFrom(0, 1),
      seed: fc.nat(5),
      presencePenalty: fc.constantFrom(0, 1),
    });
    let numAccepted = 0;
    let numProposed = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 13, max: 60 }),
        async (all, numBlocks) => {
          const { engine } = engineOf(numBlocks);
          const samplings = all.map(({ temperature, seed, presencePenalty }) => ({
            temperature,
            seed,
            presencePenalty,
            topP: 1,
            topK: 0,
          }));
          const ended = await Promise.all(
            all.map(({ prompt, maxTokens }, index) => {
              const sampling = samplings[index];
              return runSequence(
                engine,
                sequenceRequest(prompt, { maxTokens, ...(sampling && { sampling }) }),
              );
            }),
          );
          expect(ended.map(({ tokens }) => tokens)).toEqual(
            all.map(({ prompt, maxTokens }, index) =>
              expectedTokens(prompt, maxTokens, samplings[index], 3),
            ),
          );
          const { proposedTokens, acceptedTokens } = engine.stats().speculation;
          [numProposed, numAccepted] = [numProposed + proposedTokens, numAccepted + acceptedTokens];
          await engine.close();
          expect(engine.stats().kvBlocks.used).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
    // Both outcomes were there to be tested.
    expect(numAccepted).toBeGreaterThan(100);
    expect(numProposed - numAccepted).toBeGreaterThan(100);
  });

  it('takes fewer steps than tokens where the reply repeats itself', async () => {
    const restore = makeStepsEqual();
    const { executor, engine } = engineOf(60, 1);
    const { tokens } = await runSequence(engine, sequenceRequest([0], { maxTokens: 100 }));
    expect(tokens).toHaveLength(100);
    expect(executor.batches.length).toBeLessThan(60);
    await engine.close();
    restore();
  });

  it('stops at a stop token in the middle of an accepted guess', async () => {
    const whole = expectedTokens([0, 1, 0, 1, 0], 40, undefined, 3);
    for (const stop of [0, 1, 2]) {
      const { engine } = engineOf(60);
      const { tokens, finish } = await runSequence(
        engine,
        sequenceRequest([0, 1, 0, 1, 0], { maxTokens: 40, stopTokenIds: [stop] }),
      );
      const end = whole.indexOf(stop);
      expect(tokens).toEqual(end < 0 ? whole : whole.slice(0, end));
      expect(finish.reason).toBe(end < 0 ? 'length' : 'stop');
      await engine.close();
    }
  });
});
