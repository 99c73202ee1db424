// The vocabulary behind a remote pool: text to token ids and back. It comes from a GGUF file; the server has its own.
import { NativeModel } from '../native.ts';
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

/** Room for one block of any model: nothing is ever computed with it. */
const KV_POOL_BYTES = 64 * 1024 * 1024;

/**
 * Opens a file's vocabulary; the caller closes it.
 * NOTE: the addon loads a file as a whole, so its weights are held in memory too.
 * @throws AppError INVALID_REQUEST when the file is none that the addon can load
 */
export function openVocabulary(path: string): Vocabulary {
  const native = new NativeModel({ path, kvPoolBytes: KV_POOL_BYTES, threads: 1 });
  const table = new TokenTable(native.tokenBytes, native.tokenOffsets);
  return {
    family: native.info,
    vocabSize: native.vocabSize,
    eosTokenId: native.info.eosTokenId,
    encode: (text) => native.encode(text),
    controlTokenId: (text) => native.controlTokenId(text),
    bytesOf: (tokenId) => table.bytesOf(tokenId),
    close: () => native.close(),
  };
}
