// Replies held to choices, on an engine without weights.
import fc from 'fast-check';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import { StepEngine } from '../../../inference/engine.ts';
import type { EngineOptions } from '../../../inference/engine.ts';
import { GREEDY, runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const OPTIONS: EngineOptions = { maxNumBatchedTokens: 32, maxNumSeqs: 8, contextLength: 200 };
const STOP = 7;

async function withEngine<Result>(
  options: Partial<EngineOptions>,
  work: (engine: StepEngine) => Promise<Result>,
): Promise<Result> {
  const errors: unknown[] = [];
  const engine = new StepEngine(new FakeExecutor({ numBlocks: 64 }), {
    ...OPTIONS,
    onStep: () => engine.checkIntegrity(),
    onListenerError: (error) => errors.push(error),
    ...options,
  });
  const result = await work(engine);
  await engine.close();
  expect(errors).toEqual([]);
  return result;
}

const asked = (
  prompt: readonly number[],
  choices: readonly (readonly number[])[],
  more: Partial<SequenceRequest> = {},
): SequenceRequest =>
  sequenceRequest(prompt, {
    sampling: { ...GREEDY, choices },
    stopTokenIds: [STOP],
    ...more,
  });

const id = fc.integer({ min: 10, max: 14 });
const choice = fc.array(id, { minLength: 1, maxLength: 4 });
const requests = fc.array(
  fc.record({
    prompt: fc.array(id, { minLength: 1, maxLength: 12 }),
    choices: fc.array(choice, { minLength: 1, maxLength: 5 }),
    temperature: fc.constantFrom(0, 1),
  }),
  { minLength: 1, maxLength: 6 },
);

describe('a reply held to choices', () => {
  it('is one of them, and the same alone, in a batch, speculated and resumed at any token', async () => {
    await fc.assert(
      fc.asyncProperty(requests, fc.nat(3), async (all, numKept) => {
        const request = ({ prompt, choices, temperature }: (typeof all)[number]) =>
          asked(prompt, choices, { sampling: { ...GREEDY, choices, temperature } });
        const together = await withEngine({ maxDraftTokens: 4 }, (engine) =>
          Promise.all(all.map((each) => runSequence(engine, request(each)))),
        );
        for (const [index, { tokens, finish }] of together.entries()) {
          const each = all[index] ?? { prompt: [], choices: [], temperature: 0 };
          expect(finish).toEqual({ reason: 'stop' });
          expect(each.choices).toContainEqual(tokens);
          const outputTokenIds = tokens.slice(0, numKept);
          const alone = await withEngine({}, (engine) =>
            runSequence(engine, { ...request(each), outputTokenIds }),
          );
          expect([...outputTokenIds, ...alone.tokens]).toEqual(tokens);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('ends behind its last token without another step', async () => {
    let numSteps = 0;
    const { tokens } = await withEngine({ onStep: () => (numSteps += 1) }, (engine) =>
      runSequence(engine, asked([1, 2], [[11], [12]])),
    );
    expect(tokens).toHaveLength(1);
    expect(numSteps).toBe(1);
  });

  it('may be the shorter of two that begin alike, by the stop token', async () => {
    const lengths = await withEngine({}, (engine) =>
      Promise.all(
        Array.from({ length: 20 }, async (_, seed) => {
          const choices = [[11], [11, 12, 13]];
          const request = asked([seed + 20], choices);
          return (await runSequence(engine, request)).tokens.length;
        }),
      ),
    );
    expect(new Set(lengths)).toEqual(new Set([1, 3]));
  });

  it.each([
    ['no choice', { choices: [] }],
    ['an empty one', { choices: [[11], []] }],
    ['an id beyond the vocabulary', { choices: [[1000]] }],
    ['a stop token within', { choices: [[11, STOP]] }],
    ['a repetition penalty', { choices: [[11]], repetitionPenalty: 1.1 }],
    ['too much heat', { choices: [[11]], temperature: 3 }],
  ])('is refused with %s', async (_name, sampling) => {
    await withEngine({}, async (engine) => {
      const request = asked([1], [], { sampling: { ...GREEDY, ...sampling } });
      expect(() => engine.submit(request, { onTokens: () => 0, onFinish: () => 0 })).toThrow(
        expect.objectContaining({ code: 'INVALID_REQUEST', param: 'choices' }) as Error,
      );
    });
  });
});
