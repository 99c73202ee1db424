// Tiny models with random weights, one for each architecture: test/reference/tiny_models.py writes them, with what the
// tokenizers' own libraries make of some texts. That their logits agree with the reference is tested beside the kernels.
import { join } from 'node:path';
import { NativeEmbedder } from '../../../../inference/native-embedder.ts';
import type { NativeModel } from '../../../../inference/native.ts';
import { blocks, generate, loadModel, readFixture, step, TestSequence } from './model.ts';

interface Encodings {
  readonly encodings: readonly { readonly text: string; readonly ids: readonly number[] }[];
}

const FOLDER = join('..', 'architectures');
const path = (name: string): string =>
  join(__dirname, '..', '..', '..', 'fixtures', 'architectures', `${name}.gguf`);
const encodingsOf = (name: string): Encodings['encodings'] =>
  readFixture<Encodings>(join(FOLDER, `${name}.json`)).encodings;

const DECODERS = ['llama3', 'qwen2', 'qwen3', 'gemma3'];
const ARCHITECTURES: Readonly<Record<string, string>> = { llama3: 'llama' };

describe.each(DECODERS)('a tiny %s', (name) => {
  let model: NativeModel;
  beforeAll(() => {
    model = loadModel({ path: path(name), kvPoolBytes: 1 << 20, threads: 2 });
  });
  afterAll(() => model.close());

  it('says what it is', () => {
    expect(model.info).toMatchObject({
      architecture: ARCHITECTURES[name] ?? name,
      name: `tiny ${name}`,
      contextLength: 256,
    });
  });

  it('encodes texts as the tokenizer’s own library does', () => {
    for (const { text, ids } of encodingsOf(name))
      expect([text, ...model.encode(text)]).toEqual([text, ...ids]);
  });

  it('continues greedily with the same tokens alone, twice, batched and resumed', async () => {
    const prompt = [...model.encode('The harbour was quiet')];
    const run = (first: number, ids: readonly number[], count: number): Promise<number[]> =>
      generate(model, new TestSequence(ids, blocks(first)), count);
    const tokens = await run(0, prompt, 12);
    expect(await run(8, prompt, 12)).toEqual(tokens);
    expect(await run(8, [...prompt, ...tokens.slice(0, 5)], 7)).toEqual(tokens.slice(5));
    const one = new TestSequence(prompt, blocks(0));
    const other = new TestSequence([...model.encode('345 stars, then the tide')], blocks(8));
    while (one.ids.length < prompt.length + 12)
      await step(model, [
        { sequence: other, count: other.numPending },
        { sequence: one, count: Math.min(3, one.numPending) },
      ]);
    expect(one.ids.slice(prompt.length)).toEqual(tokens);
  });
});

describe('a tiny bert', () => {
  const model = new NativeEmbedder({ path: path('bert'), threads: 1 });
  afterAll(() => model.close());

  it('encodes texts as the tokenizer’s own library does, between its two marks', () => {
    for (const { text, ids } of encodingsOf('bert'))
      expect([text, ...model.encode(text)]).toEqual([text, ...ids]);
  });

  it('cuts off what goes beyond its context', () => {
    const ids = [...model.encode('stars '.repeat(500))];
    expect(ids).toHaveLength(model.info.contextLength);
    expect([ids[0], ids.at(-1)]).toEqual([2, 3]);
  });

  it('refuses bad input by the name of the field', async () => {
    const embed = (ids: number[], starts: number[]): Promise<Float32Array> =>
      model.embed(Int32Array.from(ids), Int32Array.from(starts));
    const refusal = (message: string): object =>
      expect.objectContaining({ code: 'INVALID_REQUEST', message: expect.stringMatching(message) });
    await expect(embed([2, -7, 3], [0, 3])).rejects.toEqual(refusal('tokenIds is out of range'));
    await expect(embed([2, 7, 3], [0, 4])).rejects.toEqual(refusal('starts is out of range'));
    expect(await embed([2, 7, 3], [0, 3])).toHaveLength(64);
  });

  it('is no decoder, and a decoder is no encoder', () => {
    expect(() => loadModel({ path: path('bert') })).toThrow(/architecture bert is not supported/);
    expect(() => new NativeEmbedder({ path: path('qwen2'), threads: 1 })).toThrow(
      /qwen2 makes no embeddings/,
    );
  });
});
