// The vocabulary behind a remote pool: text to token ids and back. It comes from a GGUF file; the server has its own.
import { NativeVocabulary } from '../native-vocabulary.ts';
import { TokenTable } from '../tokenizer/token-table.ts';
import type { ModelFamily } from '../chat-template.ts';
import type { TemplateTokenizer } from '../templates/template.ts';

export interface Vocabulary extends TemplateTokenizer {
  /** Chooses the template. */
  readonly family: ModelFamily;
  readonly vocabSize: number;
  /** Ends a text; null when the file names none. */
  readonly eosTokenId: number | null;
  /** A token's bytes, empty for a control token. @throws AppError INVALID_REQUEST for an id that is none of its own */
  bytesOf(tokenId: number): Uint8Array;
  close(): void;
}

/**
 * Opens a file's vocabulary; the caller closes it. Weights of the file are not read: the GGUF of any quantisation will do, or one
 * without tensors.
 * @throws AppError INVALID_REQUEST when the file has no vocabulary that can be used
 */
export function openVocabulary(path: string): Vocabulary {
  const native = new NativeVocabulary(path);
  const table = new TokenTable(native.tokenBytes, native.tokenOffsets);
  return {
    family: native.info,
    vocabSize: native.info.vocabSize,
    eosTokenId: native.info.eosTokenId,
    encode: (text) => native.encode(text),
    controlTokenId: (text) => native.controlTokenId(text),
    bytesOf: (tokenId) => table.bytesOf(tokenId),
    close: () => native.close(),
  };
}
