import fc from 'fast-check';
import type { NativeModel } from '../../../../inference/native.ts';
import { describeWithModel, loadModel } from './model.ts';

describeWithModel('the tokenizer', () => {
  let model: NativeModel;
  beforeAll(() => {
    model = loadModel();
  });
  afterAll(() => model.close());

  const bytesOf = (id: number): Uint8Array =>
    model.tokenBytes.subarray(model.tokenOffsets[id], model.tokenOffsets[id + 1]);

  const decode = (ids: Int32Array): string =>
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Buffer.concat([...ids].map(bytesOf)),
    );

  const CONTROLS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<repo_name>'];

  /** Rare control characters, the lead bytes of four unassigned planes, and what UTF-8 never has. */
  const UNKNOWN_BYTES = new Set([
    ...[0x04, 0x06, 0x13, 0x14, 0x16, 0x1d, 0xc0, 0xc1, 0xf1, 0xf2],
    ...[0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff],
  ]);

  it('has a token for each byte that text is made of, but for a few', () => {
    const ids = Array.from({ length: model.vocabSize }, (_, id) => bytesOf(id));
    const known = new Set(ids.filter(({ length }) => length === 1).map(([byte]) => byte));
    const missing = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => !known.has(byte),
    );
    expect(missing).toEqual([...UNKNOWN_BYTES]);
  });

  it('has one cut more than tokens, in order, up to the last byte', () => {
    expect(model.tokenOffsets).toHaveLength(model.vocabSize + 1);
    expect(model.tokenOffsets[0]).toBe(0);
    expect(model.tokenOffsets[model.vocabSize]).toBe(model.tokenBytes.length);
    expect(
      model.tokenOffsets.findIndex((cut, id) => cut > (model.tokenOffsets[id + 1] ?? cut)),
    ).toBe(-1);
  });

  it('gives every text back byte by byte, but for the bytes that the vocabulary lacks', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 200 }),
          fc.string({ unit: 'grapheme', maxLength: 100 }),
          fc.string({
            unit: fc.constantFrom(
              ' ',
              '\n',
              '\r',
              '\t',
              '\0',
              '\u2028',
              '0',
              '9',
              'a',
              'é',
              '🚀',
              '\ufeff',
            ),
          }),
        ),
        (text) => {
          const known = Buffer.from(Buffer.from(text).filter((byte) => !UNKNOWN_BYTES.has(byte)));
          expect(Buffer.concat([...model.encode(text)].map(bytesOf)).equals(known)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('never makes a control token of a text', () => {
    const controls = new Set(CONTROLS.map((text) => model.controlTokenId(text)));
    expect(controls).not.toContain(null);
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(...CONTROLS), fc.string({ maxLength: 8 })), {
          maxLength: 12,
        }),
        (parts) => {
          const ids = [...model.encode(parts.join(''))];
          expect(ids.filter((id) => controls.has(id))).toEqual([]);
          expect(ids.filter((id) => bytesOf(id).length === 0)).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('knows the ChatML markers by name, and no others', () => {
    expect(CONTROLS.slice(0, 3).map((text) => model.controlTokenId(text))).toEqual([0, 1, 2]);
    expect(model.controlTokenId('the')).toBeNull();
    expect(model.controlTokenId('')).toBeNull();
    expect(bytesOf(1)).toHaveLength(0);
  });

  it('takes digits one by one', () => {
    const texts = [...model.encode('Year 19690, 3.14')].map((id) =>
      Buffer.from(bytesOf(id)).toString(),
    );
    expect(texts.filter((text) => /\d/.test(text))).toEqual([...'19690314']);
  });

  it('replaces a lone surrogate and takes the empty text', () => {
    expect(decode(model.encode('a\ud800b'))).toBe('a\ufffdb');
    expect(model.encode('')).toHaveLength(0);
  });

  it('takes a megabyte of one letter', () => {
    const text = 'a'.repeat(1 << 20);
    expect(decode(model.encode(text))).toBe(text);
  });
});
