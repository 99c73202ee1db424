// Keys and values in a byte each, on real weights: what they save and what they cost. That schedules do not change their
// bits either is batch-invariance.test.ts.
import { join } from 'node:path';
import { NativeModel } from '../../../inference/native.ts';
import type { KvFormat } from '../../../inference/addon.ts';
import {
  blocks,
  describeWithModel,
  loadModel,
  normalisedError,
  step,
  TestSequence,
  tokenIds,
} from './native/model.ts';

const TINY = join(__dirname, '..', '..', 'fixtures', 'architectures', 'llama3.gguf');
const KERNELS = ['scalar', 'avx2', 'avx512vnni'];

describe('the format of keys and values', () => {
  it('is one that there is', () => {
    const kvFormat = 'q4' as KvFormat;
    expect(
      () => new NativeModel({ path: TINY, kvPoolBytes: 1 << 20, threads: 1, kvFormat }),
    ).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });
});

describeWithModel('keys and values in bytes, on real weights', () => {
  /** Logits after a prompt of 60 tokens, and after each of three tokens behind it. */
  async function logitsOf(model: NativeModel): Promise<number[]> {
    const sequence = new TestSequence(tokenIds(3, 63), blocks(0));
    const logits: number[] = [];
    for (const count of [60, 1, 1, 1])
      logits.push(...((await step(model, [{ sequence, count }]))[0] ?? []));
    model.close();
    return logits;
  }

  it('take half the memory, so that a pool holds about twice as many tokens', () => {
    const [full, half] = (['f16', 'q8'] as const).map((kvFormat) => {
      const model = loadModel({ kvFormat });
      model.close();
      return model.info;
    });
    expect((half?.kvBytesPerToken ?? 0) / (full?.kvBytesPerToken ?? 0)).toBeLessThan(0.52);
    expect((half?.numBlocks ?? 0) / (full?.numBlocks ?? 0)).toBeGreaterThan(1.9);
  });

  it('give nearly the logits of f16', async () => {
    const exact = await logitsOf(loadModel({ threads: 2 }));
    const rounded = await logitsOf(loadModel({ threads: 2, kvFormat: 'q8' }));
    expect(rounded).not.toEqual(exact);
    const error = normalisedError(rounded, exact);
    expect(error).toBeLessThan(1e-3);
  });

  it('give the same bits with every kernel set', async () => {
    const model = loadModel();
    model.close();
    const { kernels: widest } = model.info;
    const available = KERNELS.slice(0, KERNELS.indexOf(widest) + 1);
    expect(available).toContain(widest);
    const [first, ...others] = await Promise.all(
      available.map((kernels) => logitsOf(loadModel({ kvFormat: 'q8', threads: 2, kernels }))),
    );
    for (const other of others) expect(other).toEqual(first);
  });
});
