import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { paramsPerToken } from '../../../../bench/engine/gguf-shapes.ts';

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number): Buffer => Buffer.concat([u32(value), u32(0)]);
const string = (text: string): Buffer => Buffer.concat([u64(text.length), Buffer.from(text)]);
const tensor = (name: string, ...dims: number[]): Buffer =>
  Buffer.concat([string(name), u32(dims.length), ...dims.map(u64), u32(0), u64(0)]);

/** A header with a field of each kind: a scalar, a string, an array of strings. */
function header(tensors: readonly Buffer[]): Buffer {
  const fields = [
    Buffer.concat([string('one'), u32(6), u32(0)]),
    Buffer.concat([string('two'), u32(8), string('text')]),
    Buffer.concat([string('three'), u32(9), u32(8), u64(2), string('a'), string('bc')]),
  ];
  return Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(fields.length),
    ...fields,
    ...tensors,
  ]);
}

describe('counting a model’s weights', () => {
  const folder = mkdtempSync(join(tmpdir(), 'colloquy-shapes-'));
  const path = join(folder, 'model.gguf');
  afterAll(() => rmSync(folder, { recursive: true }));
  const embedding = tensor('token_embd.weight', 4, 10);
  const body = [tensor('blk.0.attn_q.weight', 4, 4), tensor('blk.0.attn_norm.weight', 4)];

  it('takes the embedding as the head of a tied model, and no vectors', () => {
    writeFileSync(path, header([embedding, ...body]));
    expect(paramsPerToken(path)).toEqual({ body: 16, head: 40 });
  });

  it('takes the output matrix where there is one, and the embedding not at all', () => {
    writeFileSync(path, header([embedding, tensor('output.weight', 4, 12), ...body]));
    expect(paramsPerToken(path)).toEqual({ body: 16, head: 48 });
  });
});
