import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeVocabulary } from '../../../../inference/native-vocabulary.ts';
import { NativeModel } from '../../../../inference/native.ts';
import { openVocabulary } from '../../../../inference/remote/vocabulary.ts';

const FIXTURES = join(__dirname, '..', '..', '..', 'fixtures', 'architectures');
const DECODERS = readdirSync(FIXTURES).filter(
  (name) => name.endsWith('.gguf') && name !== 'bert.gguf',
);
const refusal = (message: string): Error =>
  expect.objectContaining({
    code: 'INVALID_REQUEST',
    message: expect.stringContaining(message) as string,
  }) as Error;
const TEXTS = ['', 'the harbour', 'a müder Hund\n', '<|im_start|> 漢字'];

describe('NativeVocabulary', () => {
  const folder = mkdtempSync(join(tmpdir(), 'colloquy-vocabulary-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A copy of a fixture, changed. */
  function changed(name: string, change: (file: Buffer) => void): string {
    const file = readFileSync(join(FIXTURES, name));
    change(file);
    const path = join(folder, name);
    writeFileSync(path, file);
    return path;
  }

  it.each(DECODERS)('is the one that the whole model has: %s', (name) => {
    const path = join(FIXTURES, name);
    const model = new NativeModel({ path, kvPoolBytes: 1 << 20, threads: 1 });
    const vocabulary = new NativeVocabulary(path);
    const { info } = vocabulary;
    expect(model.info).toMatchObject(info);
    expect(vocabulary.tokenBytes).toEqual(model.tokenBytes);
    expect(vocabulary.tokenOffsets).toEqual(model.tokenOffsets);
    for (const text of TEXTS) expect(vocabulary.encode(text)).toEqual(model.encode(text));
    for (const marker of ['<|im_end|>', '<end_of_turn>', '<|eot_id|>'])
      expect(vocabulary.controlTokenId(marker)).toBe(model.controlTokenId(marker));
    vocabulary.close();
    model.close();
  });

  it('needs no tensors, and no architecture that the engine runs', () => {
    const path = changed('qwen2.gguf', (file) => {
      file.writeBigUInt64LE(0n, 8); // the number of tensors
      file.write('other', file.indexOf('qwen2', file.indexOf('general.architecture')));
    });
    expect(() => new NativeModel({ path, kvPoolBytes: 1 << 20, threads: 1 })).toThrow(/other/);
    const vocabulary = openVocabulary(path);
    expect(vocabulary.family.architecture).toBe('other');
    expect(vocabulary.vocabSize).toBeGreaterThan(256);
    const ids = [...vocabulary.encode('the harbour')];
    expect(Buffer.concat(ids.map((id) => vocabulary.bytesOf(id))).toString()).toBe('the harbour');
    vocabulary.close();
  });

  it('says what is wrong with a file, and that it is closed', () => {
    const path = changed('qwen3.gguf', (file) => file.write('FUGG'));
    expect(() => new NativeVocabulary(path)).toThrow(refusal('not a GGUF file: wrong magic'));
    const vocabulary = new NativeVocabulary(join(FIXTURES, 'qwen3.gguf'));
    vocabulary.close();
    vocabulary.close();
    expect(() => vocabulary.encode('text')).toThrow(refusal('the vocabulary is closed'));
  });
});
