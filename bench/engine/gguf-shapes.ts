// Names and shapes of a GGUF file's tensors, for counting multiplications. Source: the GGUF specification, version 3.
import { closeSync, openSync, readSync } from 'node:fs';

export interface TensorShape {
  readonly name: string;
  readonly dims: readonly number[];
}

/** Bytes of each scalar value type, by its number; 8 is a string, 9 an array. */
const SCALAR_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const HEADER_BYTES = 32 << 20;

export function tensorShapes(path: string): TensorShape[] {
  const bytes = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, 'r');
  readSync(file, bytes, 0, HEADER_BYTES, 0);
  closeSync(file);
  let at = 8;
  const u32 = (): number => bytes.readUInt32LE((at += 4) - 4);
  const u64 = (): number => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const skip = (count: number): void => void (at += count);
  const skipValue = (type: number): void => {
    if (type === 8) skip(u64());
    else if (type === 9) {
      const [item, count] = [u32(), u64()];
      for (let index = 0; index < count; index += 1) skipValue(item);
    } else skip(SCALAR_BYTES[type] ?? 0);
  };
  const [numTensors, numFields] = [u64(), u64()];
  for (let field = 0; field < numFields; field += 1) {
    skip(u64());
    skipValue(u32());
  }
  return Array.from({ length: numTensors }, () => {
    const length = u64();
    const name = bytes.toString('utf8', at, (at += length));
    const dims = Array.from({ length: u32() }, u64);
    skip(12);
    return { name, dims };
  });
}

/** Weights that multiply every token: all matrices, the embedding where it is also the output, or the output. */
export function paramsPerToken(path: string): { readonly body: number; readonly head: number } {
  const matrices = tensorShapes(path).filter(({ dims }) => dims.length === 2);
  const count = (part: readonly TensorShape[]): number =>
    part.reduce((sum, { dims }) => sum + dims.reduce((product, dim) => product * dim, 1), 0);
  const embedding = matrices.filter(({ name }) => name === 'token_embd.weight');
  const output = matrices.filter(({ name }) => name === 'output.weight');
  const body = matrices.filter((each) => !embedding.includes(each) && !output.includes(each));
  return { body: count(body), head: count(output.length > 0 ? output : embedding) };
}
