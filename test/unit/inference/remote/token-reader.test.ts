import type { CompletionChunk } from '../../../../inference/remote/completion-api.ts';
import { tokenIdsOf } from '../../../../inference/remote/token-reader.ts';
import { byteVocabulary, END_ID, THE_ID } from '../../../helpers/byte-vocabulary.ts';

const vocabulary = byteVocabulary();
const bytes = (text: string): number[] => [...Buffer.from(text)];

function chunk(more: Partial<CompletionChunk>): CompletionChunk {
  return { text: '', tokenIds: null, finish: null, usage: null, ...more };
}

describe('tokenIdsOf', () => {
  it.each(['vllm', 'sglang'] as const)('takes the ids that %s tells, text or none', (server) => {
    const told = chunk({ text: 'the', tokenIds: [THE_ID] });
    expect(tokenIdsOf(told, server, vocabulary)).toEqual([THE_ID]);
    const withheld = chunk({ tokenIds: [0xf0, 0x9f] });
    expect(tokenIdsOf(withheld, server, vocabulary)).toEqual([0xf0, 0x9f]);
    const late = chunk({ text: '😀', tokenIds: [0x98, 0x80] });
    expect(tokenIdsOf(late, server, vocabulary)).toEqual([0x98, 0x80]);
    expect(tokenIdsOf(chunk({}), server, vocabulary)).toEqual([]);
  });

  it('drops the control token that ends a reply, and keeps one within', () => {
    const end = chunk({ text: 'a', tokenIds: [97, END_ID], finish: 'stop' });
    expect(tokenIdsOf(end, 'vllm', vocabulary)).toEqual([97]);
    const within = chunk({ text: 'a', tokenIds: [END_ID, 97], finish: 'length' });
    expect(tokenIdsOf(within, 'vllm', vocabulary)).toEqual([END_ID, 97]);
  });

  it.each([
    ['tells none', chunk({ text: 'a' })],
    ['tells one beyond the vocabulary', chunk({ text: 'a', tokenIds: [5000] })],
    ['tells ids that spell another text', chunk({ text: 'dog', tokenIds: [THE_ID] })],
  ])('says that the catalogue is wrong when a server that must tell ids %s', (_, wrong) => {
    expect(() => tokenIdsOf(wrong, 'vllm', vocabulary)).toThrow(
      expect.objectContaining({ code: 'INVARIANT_VIOLATED' }),
    );
  });

  it('takes llama.cpp’s ids when they spell the text, else the vocabulary’s', () => {
    const told = chunk({ text: 'the', tokenIds: [THE_ID] });
    expect(tokenIdsOf(told, 'llama.cpp', vocabulary)).toEqual([THE_ID]);
    for (const tokenIds of [[0x80], [], null, [5000]]) {
      const partial = chunk({ text: '😀', tokenIds });
      expect(tokenIdsOf(partial, 'llama.cpp', vocabulary)).toEqual(bytes('😀'));
    }
    expect(tokenIdsOf(chunk({ tokenIds: [END_ID] }), 'llama.cpp', vocabulary)).toEqual([END_ID]);
  });

  it('takes of any other server the text alone', () => {
    const told = chunk({ text: 'the', tokenIds: [THE_ID] });
    expect(tokenIdsOf(told, 'openai', vocabulary)).toEqual(bytes('the'));
    expect(tokenIdsOf(chunk({}), 'openai', vocabulary)).toEqual([]);
  });
});
