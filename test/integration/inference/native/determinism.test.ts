import type { Arithmetic } from '../../../../inference/addon.ts';
import type { NativeModel } from '../../../../inference/native.ts';
import {
  blocks,
  describeWithModel,
  generate,
  loadModel,
  loadWithKernels,
  readFixture,
  step,
  TestSequence,
  tokenIds,
} from './model.ts';
import type { Sampling } from './model.ts';

interface Greedy {
  readonly name: string;
  readonly prompt: readonly number[];
  readonly tokens: Readonly<Record<Arithmetic, readonly number[]>>;
}

const SCALAR_STEPS = 3;
const ARITHMETICS: readonly Arithmetic[] = ['blocks', 'rows'];

for (const arithmetic of ARITHMETICS)
  describeWithModel(`the native model’s bits in the arithmetic of ${arithmetic}`, () => {
    const goldens = readFixture<Greedy[]>('greedy.json');
    const [golden] = goldens;
    let model: NativeModel;
    beforeAll(() => {
      model = loadModel({ arithmetic, threads: 2 });
    });
    afterAll(() => model.close());

    /** Logits after each of the last `count` tokens of a sequence that runs alone: its prompt at once, then its output. */
    async function alone(ids: readonly number[], promptLength: number): Promise<Float32Array[]> {
      const sequence = new TestSequence(ids, blocks(0));
      const [first = new Float32Array()] = await step(model, [{ sequence, count: promptLength }]);
      const logits = [first];
      while (sequence.numPending > 0 && sequence.computed < ids.length)
        logits.push(...(await step(model, [{ sequence, count: 1 }])));
      return logits;
    }

    // Pinned tokens of this engine. Whoever changes its arithmetic on purpose pins what this test then shows.
    it.each(goldens)('continues "$name" with the pinned tokens', async ({ prompt, tokens }) => {
      const expected = tokens[arithmetic];
      const actual = await generate(model, new TestSequence(prompt, blocks(0)), expected.length);
      expect(actual).toEqual(expected);
    });

    it.each(['scalar', 'avx2', 'avx512vnni'])(
      'are those of the widest kernels with %s',
      async (kernels) => {
        const prompt = golden?.prompt ?? [];
        const other = loadWithKernels(kernels, arithmetic);
        if (other === null) return;
        const [one, two] = [
          new TestSequence(prompt, blocks(0)),
          new TestSequence(prompt, blocks(0)),
        ];
        for (let index = 0; index < SCALAR_STEPS; index += 1) {
          const expected = await step(model, [{ sequence: one, count: one.numPending }]);
          const actual = await step(other, [{ sequence: two, count: two.numPending }]);
          expectSameBits(actual, expected);
        }
        other.close();
      },
    );

    it.each([1, 2, 3])('are the same on %i threads', async (threads) => {
      const other = loadModel({ arithmetic, threads });
      const ids = tokenIds(5, 40);
      const [one, two] = [new TestSequence(ids, blocks(0)), new TestSequence(ids, blocks(0))];
      expectSameBits(
        await step(other, [{ sequence: two, count: 40 }]),
        await step(model, [{ sequence: one, count: 40 }]),
      );
      other.close();
    });

    it('are the same alone and among four others at other positions', async () => {
      const ids = tokenIds(1, 24);
      const expected = await alone(ids, 20);
      const sequence = new TestSequence(ids, blocks(0));
      const others = [3, 17, 33, 90].map(
        (length, index) => new TestSequence(tokenIds(index + 2, length), blocks(10 + index * 10)),
      );
      const mixed = [...others.slice(0, 2), sequence, ...others.slice(2)];
      for (const [index, logits] of expected.entries()) {
        const rows = await step(
          model,
          mixed.map((each) => ({
            sequence: each,
            // The others prefill in odd chunks, then decode.
            count: each === sequence ? (index === 0 ? 20 : 1) : Math.min(each.numPending, 13),
          })),
        );
        expectSameBits(rows.slice(2, 3), [logits]);
      }
    });

    it.each([1, 7, 16, 32])('are the same for a prompt in chunks of %i', async (chunk) => {
      const ids = tokenIds(3, 50);
      const [expected] = await alone(ids, 50);
      const sequence = new TestSequence(ids, blocks(20));
      let logits: Float32Array[] = [];
      while (sequence.computed < ids.length)
        logits = await step(model, [{ sequence, count: Math.min(chunk, sequence.numPending) }]);
      expectSameBits(logits, [expected ?? new Float32Array()]);
    });

    it('are the same wherever the blocks lie', async () => {
      const ids = tokenIds(4, 70);
      const expected = await alone(ids, 70);
      const sequence = new TestSequence(ids, [91, 3, 60, 4, 17]);
      expectSameBits(await step(model, [{ sequence, count: 70 }]), expected);
    });

    const sampling: Sampling = { temperature: 0.9, topP: 0.95, topK: 0, seed: 1234 };

    it('draw the same tokens for a seed alone, in a batch, and resumed in the middle', async () => {
      const prompt = tokenIds(6, 12);
      const expected = await generate(model, new TestSequence(prompt, blocks(0), sampling), 16);
      const sequence = new TestSequence(prompt, blocks(10), sampling);
      const other = new TestSequence(tokenIds(7, 5), blocks(20), {
        ...sampling,
        seed: 99,
        topK: 50,
      });
      while (sequence.ids.length < 28)
        await step(
          model,
          [other, sequence].map((each) => ({ sequence: each, count: each.numPending })),
        );
      expect(sequence.ids.slice(12)).toEqual(expected);
      const resumed = new TestSequence([...prompt, ...expected.slice(0, 7)], blocks(30), sampling);
      expect(await generate(model, resumed, 9)).toEqual(expected.slice(7));
    });

    it('draw other tokens for another seed', async () => {
      const prompt = tokenIds(6, 12);
      const one = await generate(model, new TestSequence(prompt, blocks(0), sampling), 16);
      const another = { ...sampling, seed: 1235 };
      const other = await generate(model, new TestSequence(prompt, blocks(0), another), 16);
      expect(one).not.toEqual(other);
    });
  });

/** Compares 32-bit patterns, so that −0 and 0 differ. Not by toEqual, which takes seconds for a vocabulary. */
function expectSameBits(actual: readonly Float32Array[], expected: readonly Float32Array[]): void {
  const bytes = (logits: Float32Array): Buffer =>
    Buffer.from(logits.buffer, logits.byteOffset, logits.byteLength);
  expect(actual).toHaveLength(expected.length);
  for (const [index, logits] of expected.entries()) {
    expect(logits.length).toBeGreaterThan(0);
    expect(bytes(actual[index] ?? new Float32Array()).equals(bytes(logits))).toBe(true);
  }
}
