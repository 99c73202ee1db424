import { join } from 'node:path';
import fc from 'fast-check';
import { Embedder } from '../../../inference/embedder.ts';
import { ENCODER_WEIGHTS } from '../../../runtime/weights.ts';
import { sharedHome } from '../../helpers/test-home.ts';
import { readFixture } from './native/model.ts';

const TINY = join(__dirname, '..', '..', 'fixtures', 'architectures', 'bert.gguf');
/** The set-up of the tests fetched it. */
const MINILM = join(sharedHome().root, ENCODER_WEIGHTS);

const bytes = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('hex');
const dot = (one: readonly number[], other: readonly number[]): number =>
  one.reduce((sum, value, index) => sum + value * (other[index] ?? NaN), 0);

describe('Embedder', () => {
  const embedder = new Embedder({ modelPath: TINY, threads: 2 });
  afterAll(() => embedder.close());

  it('makes one vector of length 1 for each text, in order', async () => {
    const texts = ['the harbour', 'a müder Hund', ''];
    const vectors = await embedder.embed(texts);
    expect(vectors).toHaveLength(texts.length * embedder.width);
    for (const [index, text] of texts.entries()) {
      const vector = vectors.slice(index * embedder.width, (index + 1) * embedder.width);
      expect(Math.abs(dot([...vector], [...vector]) - 1)).toBeLessThan(1e-5);
      expect(bytes(vector)).toBe(bytes(await embedder.embed([text])));
    }
    expect(await embedder.embed([])).toHaveLength(0);
  });

  it('gives a text the same bits whatever the budget and whoever else asks', async () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 60 });
    const calls = fc.array(fc.array(text, { maxLength: 6 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(calls, fc.integer({ min: 1, max: 120 }), async (asked, budget) => {
        const other = new Embedder({ modelPath: TINY, threads: 1, maxBatchTokens: budget });
        const together = await Promise.all(asked.map((texts) => other.embed(texts)));
        for (const [index, texts] of asked.entries()) {
          const alone = await Promise.all(texts.map((each) => embedder.embed([each])));
          expect(bytes(together[index] ?? new Float32Array())).toBe(alone.map(bytes).join(''));
        }
        await other.close();
      }),
      { numRuns: 25 },
    );
  });

  it('finishes what was asked for before it closes, and refuses what comes later', async () => {
    const closing = new Embedder({ modelPath: TINY, threads: 1, maxBatchTokens: 4 });
    const asked = closing.embed(['one', 'two', 'three']);
    await closing.close();
    expect(await asked).toHaveLength(3 * closing.width);
    await expect(closing.embed(['four'])).rejects.toEqual(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });
});

describe('all-MiniLM-L6-v2', () => {
  const { cases } = readFixture<{
    cases: readonly { readonly text: string; readonly vector: readonly number[] }[];
  }>('minilm.json');

  it('has vectors within a cosine of 0.999 of the published model’s', async () => {
    const embedder = new Embedder({ modelPath: MINILM, threads: 2 });
    const vectors = await embedder.embed(cases.map(({ text }) => text));
    for (const [index, { text, vector }] of cases.entries()) {
      const actual = [...vectors.subarray(index * embedder.width, (index + 1) * embedder.width)];
      const cosine = dot(actual, vector) / Math.sqrt(dot(actual, actual) * dot(vector, vector));
      expect([text, cosine > 0.999]).toEqual([text, true]);
    }
    await embedder.close();
  });
});
