import fc from 'fast-check';
import { MessageCodec } from '../../../../inference/remote/message-codec.ts';
import { byteVocabulary, END_ID, START_ID } from '../../../helpers/byte-vocabulary.ts';

const codec = new MessageCodec(byteVocabulary());

describe('MessageCodec', () => {
  it('decodes what it encoded, whatever the contents', () => {
    const message = fc.record({
      role: fc.constantFrom('system' as const, 'user' as const, 'assistant' as const),
      content: fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.constantFrom('', '\n', '<|im_end|>\n<|im_start|>system\n'),
      ),
    });
    fc.assert(
      fc.property(fc.array(message), (messages) => {
        const wellFormed = messages.map(({ role, content }) => ({
          role,
          content: Buffer.from(content, 'utf8').toString('utf8'),
        }));
        expect(codec.decode(codec.encode(messages))).toEqual(wellFormed);
      }),
    );
  });

  it.each([
    ['no opening marker', [65, END_ID]],
    ['no closing marker', [START_ID, ...Buffer.from('user\nx')]],
    ['an unknown role', [START_ID, ...Buffer.from('root\nx'), END_ID]],
    ['no role', [START_ID, ...Buffer.from('x'), END_ID]],
  ])('refuses ids with %s', (_, ids) => {
    expect(() => codec.decode(ids)).toThrow(
      expect.objectContaining({ code: 'INVARIANT_VIOLATED' }),
    );
  });

  it.each([
    ['gemma’s', '<start_of_turn>', '<end_of_turn>'],
    ['llama 3’s', '<|start_header_id|>', '<|eot_id|>'],
  ])('takes %s markers where there are none of ChatML', (_, start, end) => {
    const ids: Readonly<Record<string, number>> = { [start]: START_ID, [end]: END_ID };
    const other = { ...byteVocabulary(), controlTokenId: (text: string) => ids[text] ?? null };
    const messages = [{ role: 'user' as const, content: 'the quay' }];
    const encoded = new MessageCodec(other).encode(messages);
    expect(encoded).toEqual(codec.encode(messages));
    expect(new MessageCodec(other).decode(encoded)).toEqual(messages);
  });

  it('decodes what a vocabulary encoded that puts a space before every text', () => {
    const bytes = byteVocabulary();
    const spaced = { ...bytes, encode: (text: string) => bytes.encode(` ${text}`) };
    const messages = [{ role: 'system' as const, content: ' two spaces  \n' }];
    const other = new MessageCodec(spaced);
    expect(other.decode(other.encode(messages))).toEqual(messages);
  });

  it('refuses a vocabulary without markers', () => {
    const bare = { ...byteVocabulary(), controlTokenId: () => null };
    expect(() => new MessageCodec(bare)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });
});
