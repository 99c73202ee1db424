// A vocabulary without a file: one id per byte, ChatML's markers, and one token for a word.
import type { Vocabulary } from '../../inference/remote/vocabulary.ts';

export const START_ID = 256;
export const END_ID = 257;
/** Spells `the`; encode() never makes it, a server may. */
export const THE_ID = 258;

const CONTROLS: Readonly<Record<string, number>> = {
  '<|im_start|>': START_ID,
  '<|im_end|>': END_ID,
};

export function byteVocabulary(): Vocabulary {
  return {
    family: { architecture: 'llama', name: 'bytes' },
    vocabSize: 259,
    eosTokenId: END_ID,
    encode: (text) => Int32Array.from(Buffer.from(text, 'utf8')),
    controlTokenId: (text) => CONTROLS[text] ?? null,
    bytesOf: (tokenId) => {
      if (tokenId === THE_ID) return Buffer.from('the');
      return tokenId < 256 ? Uint8Array.of(tokenId) : new Uint8Array();
    },
    close: () => undefined,
  };
}
