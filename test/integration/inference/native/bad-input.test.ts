import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ForwardBatch } from '../../../../inference/forward-batch.ts';
import type { NativeModel } from '../../../../inference/native.ts';
import {
  batchOf,
  blocks,
  describeWithModel,
  generate,
  loadModel,
  MODEL_PATH,
  TestSequence,
  tokenIds,
} from './model.ts';

const invalid = (message: string | RegExp): object =>
  expect.objectContaining({ code: 'INVALID_REQUEST', message: expect.stringMatching(message) });

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return 'nothing was thrown';
}

describe('loading what is no model', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'colloquy-model-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const load = (name: string, content?: Uint8Array): unknown => {
    const path = join(folder, name);
    if (content !== undefined) writeFileSync(path, content);
    return thrownBy(() => loadModel({ path }));
  };

  it('says that a file is missing', () => {
    expect(load('missing.gguf')).toEqual(invalid('cannot open the model file'));
  });

  it('says that a file is empty, short or something else', () => {
    expect(load('empty.gguf', new Uint8Array())).toEqual(invalid('ends in the middle'));
    expect(load('short.gguf', Buffer.from('GGUF\x03\0\0\0'))).toEqual(
      invalid('ends in the middle'),
    );
    expect(load('other.gguf', Buffer.from('PK\x03\x04 not a model'))).toEqual(
      invalid('wrong magic'),
    );
  });

  it('says that a folder is no file', () => {
    expect(thrownBy(() => loadModel({ path: folder }))).toEqual(invalid('model file'));
  });
});

describeWithModel('bad input to the native model', () => {
  let model: NativeModel;
  beforeAll(() => {
    model = loadModel();
  });
  afterAll(() => model.close());

  const sound = (): ForwardBatch => ({
    ...batchOf([
      { sequence: new TestSequence(tokenIds(1, 5), blocks(0)), count: 5 },
      { sequence: new TestSequence(tokenIds(2, 3), blocks(8)), count: 3 },
    ]),
    minPs: new Float32Array(2),
    adjustments: {
      starts: Int32Array.of(0, 1, 1),
      ids: Int32Array.of(7),
      biases: Float32Array.of(0),
      scales: Float32Array.of(1.5),
      penalties: Float32Array.of(0),
    },
    numLogprobs: Int32Array.of(-1, 2),
  });

  const forward = (batch: ForwardBatch): Promise<Int32Array | null> =>
    new Promise((resolve, reject) => {
      model.forward(batch, (error, ids) => (error === null ? resolve(ids) : reject(error)));
    });

  const last = (): number => model.vocabSize;
  const cases: readonly [keyof ForwardBatch, (batch: ForwardBatch) => void][] = [
    ['tokenIds', (batch) => batch.tokenIds.fill(-1)],
    ['tokenIds', (batch) => batch.tokenIds.fill(last(), 7)],
    ['positions', (batch) => batch.positions.fill(1 << 30)],
    ['slots', (batch) => batch.slots.fill(3)],
    ['slots', (batch) => batch.slots.fill(model.numBlocks * 16, 0, 1)],
    ['queryStarts', (batch) => batch.queryStarts.fill(0)],
    ['contextLens', (batch) => batch.contextLens.fill(0)],
    ['contextLens', (batch) => batch.contextLens.fill(1_000_000)],
    ['blockTables', (batch) => batch.blockTables.fill(model.numBlocks)],
    ['sampleRows', (batch) => batch.sampleRows.fill(8)],
    ['temperatures', (batch) => batch.temperatures.fill(NaN)],
    ['topPs', (batch) => batch.topPs.fill(0)],
    ['topKs', (batch) => batch.topKs.fill(-2)],
    ['minPs', (batch) => batch.minPs?.fill(1.5)],
    ['adjustments', (batch) => batch.adjustments?.starts.fill(2)],
    ['adjustments', (batch) => batch.adjustments?.ids.fill(-1)],
    ['adjustments', (batch) => batch.adjustments?.ids.fill(last())],
    ['adjustments', (batch) => batch.adjustments?.biases.fill(NaN)],
    ['adjustments', (batch) => batch.adjustments?.scales.fill(0)],
    ['adjustments', (batch) => batch.adjustments?.penalties.fill(Infinity)],
    ['numLogprobs', (batch) => batch.numLogprobs?.fill(21)],
  ];

  it('is refused by the name of the field, and the next step works', async () => {
    const expected = await forward(sound());
    for (const [field, damage] of cases) {
      const batch = sound();
      damage(batch);
      await expect(forward(batch)).rejects.toEqual(invalid(`${field} is out of range`));
    }
    expect(await forward(sound())).toEqual(expected);
  });

  it('is refused where an array is too short, of another type, or missing', async () => {
    const batch = sound();
    await expect(forward({ ...batch, seeds: new Uint32Array(1) })).rejects.toEqual(
      invalid('seeds'),
    );
    await expect(forward({ ...batch, maxBlocks: 4_000_000_000 })).rejects.toEqual(
      invalid('contextLens'),
    );
    for (const wrong of [
      { tokenIds: [1, 2] },
      { tokenIds: new Float64Array(8) },
      { topPs: undefined },
      { minPs: Int32Array.of(0, 0) },
      { minPs: new Float32Array(1) },
      { numLogprobs: new Int32Array(3) },
      { adjustments: {} },
      { adjustments: { ...batch.adjustments, scales: new Float32Array() } },
      { adjustments: { ...batch.adjustments, starts: Int32Array.of(0, 1) } },
    ]) {
      const odd = { ...batch, ...wrong } as unknown as ForwardBatch;
      await expect(forward(odd)).rejects.toEqual(invalid(/./));
    }
    expect(await forward(batch)).toHaveLength(2);
  });

  it('is refused while a step is under way', async () => {
    const step = forward(sound());
    expect(thrownBy(() => model.forward(sound(), () => undefined))).toEqual(
      expect.objectContaining({ code: 'INVARIANT_VIOLATED' }),
    );
    expect(await step).toHaveLength(2);
  });

  it('is refused after close(), which may be called twice', async () => {
    const closed = loadModel();
    const tokens = await generate(closed, new TestSequence(tokenIds(1, 5), blocks(0)), 2);
    expect(tokens).toHaveLength(2);
    closed.close();
    closed.close();
    expect(thrownBy(() => closed.forward(sound(), () => undefined))).toEqual(invalid('closed'));
  });

  it('is refused at load: no room for a block, no such kernels', () => {
    expect(thrownBy(() => loadModel({ kvPoolBytes: 1000 }))).toEqual(invalid('KV pool'));
    expect(thrownBy(() => loadModel({ kvPoolBytes: NaN }))).toEqual(invalid('kvPoolBytes'));
    expect(thrownBy(() => loadModel({ kernels: 'abacus' }))).toEqual(invalid('no kernels named'));
  });

  it('is refused at load: weights cut in the middle', () => {
    const folder = mkdtempSync(join(tmpdir(), 'colloquy-model-'));
    try {
      const bytes = readFileSync(MODEL_PATH);
      for (const share of [0.001, 0.3, 0.999]) {
        const path = join(folder, 'cut.gguf');
        writeFileSync(path, bytes.subarray(0, Math.floor(bytes.length * share)));
        expect(thrownBy(() => loadModel({ path }))).toEqual(
          invalid(/ends in the middle|of a file of/),
        );
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
