// The token ids of each chunk of a reply. Where a server tells none, or not all, the ids are those that our vocabulary
// has for the chunk's text: they spell the same bytes.
import { AppError } from '../../contracts/errors.ts';
import type { CompletionChunk, RemoteServer } from './completion-api.ts';
import type { Vocabulary } from './vocabulary.ts';

/**
 * @throws AppError INVARIANT_VIOLATED when a server that must tell ids does not, or tells ids of another vocabulary: the
 *   catalogue names the wrong server, version or tokenizer
 */
export function tokenIdsOf(
  { text, tokenIds, finish }: CompletionChunk,
  server: RemoteServer,
  vocabulary: Vocabulary,
): readonly number[] {
  switch (server) {
    case 'openai':
      return encode(text, vocabulary);
    case 'llama.cpp':
      // It keeps a character's first tokens to itself, and tells the last with the whole character's text.
      return tokenIds !== null && tokenIds.length > 0 && spells(tokenIds, text, vocabulary)
        ? tokenIds
        : encode(text, vocabulary);
    case 'vllm':
    case 'sglang': {
      if (tokenIds === null && text !== '')
        throw misconfigured('the pool’s server does not tell token ids');
      const ids = tokenIds ?? [];
      if (!mayBeOf(ids, text, vocabulary))
        throw misconfigured('the pool’s tokenizer is not that of its server');
      return finish === 'stop' ? withoutEnd(ids, vocabulary) : ids;
    }
  }
}

function encode(text: string, vocabulary: Vocabulary): readonly number[] {
  return text === '' ? [] : [...vocabulary.encode(text)];
}

function spells(tokenIds: readonly number[], text: string, vocabulary: Vocabulary): boolean {
  if (tokenIds.some((id) => id >= vocabulary.vocabSize)) return false;
  return Buffer.concat(tokenIds.map((id) => vocabulary.bytesOf(id))).equals(Buffer.from(text));
}

/** False when ids and text are certainly of two vocabularies. Text may be withheld, and may hold what was withheld before. */
function mayBeOf(tokenIds: readonly number[], text: string, vocabulary: Vocabulary): boolean {
  if (tokenIds.some((id) => id >= vocabulary.vocabSize)) return false;
  const spelt = textOf(tokenIds, vocabulary).trim();
  const isPlain = [spelt, text].every((each) => /^[\x20-\x7e\n]*$/.test(each));
  return !isPlain || text === '' || text.trim().endsWith(spelt);
}

/** Without the control tokens that end a reply, where the server counts them as its last. */
function withoutEnd(tokenIds: readonly number[], vocabulary: Vocabulary): readonly number[] {
  const last = tokenIds.findLastIndex((id) => vocabulary.bytesOf(id).length > 0);
  return tokenIds.slice(0, last + 1);
}

function textOf(tokenIds: readonly number[], vocabulary: Vocabulary): string {
  return Buffer.concat(tokenIds.map((id) => vocabulary.bytesOf(id))).toString('utf8');
}

function misconfigured(message: string): AppError {
  return new AppError('INVARIANT_VIOLATED', { message });
}
