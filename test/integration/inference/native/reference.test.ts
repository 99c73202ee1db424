import type { NativeModel } from '../../../../inference/native.ts';
import {
  blocks,
  describeWithModel,
  generate,
  loadModel,
  normalisedError,
  readFixture,
  step,
  TestSequence,
} from './model.ts';

interface Reference {
  readonly stride: number;
  readonly cases: readonly {
    readonly name: string;
    readonly prompt: readonly number[];
    readonly greedy: readonly number[];
    readonly candidates: readonly {
      readonly ids: readonly number[];
      readonly logits: readonly number[];
    }[];
    readonly logits: readonly number[];
  }[];
}

/**
 * Activations are rounded to 8 bits in blocks of 32, keys and values to f16; the reference rounds nothing. A rounded
 * value is off by 2⁻⁹ of its block's largest on average; over thirty layers that came to 0.0001 to 0.0012 of the logits'
 * energy on these prompts, and the bounds are four times what was measured. A wrong rope, norm, head or nibble order
 * gives 0.3 and more.
 */
const MAX_MEDIAN_ERROR = 0.0016;
const MAX_ERROR = 0.005;
/** That noise may turn the order of two tokens that are closer than this, no others. */
const MAX_TURNED_GAP = 0.5;

describeWithModel('the native model beside an independent float32 llama', () => {
  const { cases, stride } = readFixture<Reference>('reference.json');
  let model: NativeModel;
  beforeAll(() => {
    model = loadModel();
  });
  afterAll(() => model.close());

  it('reads the prompts as the same ids', () => {
    const prompts = readFixture<{ name: string; parts: (string | number)[] }[]>('prompts.json');
    const ids = prompts.map(({ name, parts }) => ({
      name,
      prompt: parts.flatMap((part) =>
        typeof part === 'number' ? [part] : [...model.encode(part)],
      ),
    }));
    expect(ids).toEqual(cases.map(({ name, prompt }) => ({ name, prompt })));
  });

  it('computes logits within the noise of its 8-bit activations', async () => {
    const errors: number[] = [];
    for (const { prompt, logits } of cases) {
      const sequence = new TestSequence(prompt, blocks(0));
      const [actual] = await step(model, [{ sequence, count: prompt.length }]);
      const sample = logits.map((_, index) => actual?.[index * stride] ?? NaN);
      errors.push(normalisedError(sample, logits));
    }
    errors.sort((a, b) => a - b);
    expect(errors[Math.floor(errors.length / 2)]).toBeLessThan(MAX_MEDIAN_ERROR);
    expect(errors.at(-1)).toBeLessThan(MAX_ERROR);
  });

  it.each(cases)(
    'leaves the greedy path of "$name" only where two tokens are nearly even',
    async ({ prompt, greedy, candidates }) => {
      const actual = await generate(model, new TestSequence(prompt, blocks(0)), greedy.length);
      const at = actual.findIndex((id, index) => id !== greedy[index]);
      if (at === -1) return;
      const { ids = [], logits = [] } = candidates[at] ?? {};
      const chosen = logits[ids.indexOf(actual[at] ?? -1)] ?? -Infinity;
      expect((logits[0] ?? NaN) - chosen).toBeLessThan(MAX_TURNED_GAP);
    },
  );
});
