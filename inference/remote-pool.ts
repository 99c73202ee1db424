// A remote pool made ready to serve: the same ServedModel as our own engine gives, over a server that speaks OpenAI's
// API (vLLM, SGLang, llama.cpp's, any other). docs/operations.md says what each is asked and how replies go on.
import http from 'node:http';
import https from 'node:https';
import type { RemotePool } from '../contracts/catalog.ts';
import type { SequenceRequest, ServedModel } from '../contracts/engine.ts';
import { chatTemplateOf } from './chat-template.ts';
import { callByText, callByTokens, readChunk, unsupportedParam } from './remote/completion-api.ts';
import type { CompletionCall, RemoteServer } from './remote/completion-api.ts';
import { postForEvents } from './remote/event-stream.ts';
import { MessageCodec } from './remote/message-codec.ts';
import { RemoteEngine } from './remote/remote-engine.ts';
import type { RemoteClient } from './remote/remote-engine.ts';
import { tokenIdsOf } from './remote/token-reader.ts';
import { openVocabulary } from './remote/vocabulary.ts';
import type { Vocabulary } from './remote/vocabulary.ts';
import { stopTokenIdsOf } from './stop-tokens.ts';
import { TokenTextStream } from './tokenizer/text-stream.ts';

export interface RemotePoolOptions {
  readonly pool: RemotePool;
  /** Where `pool.tokenizer` is. */
  readonly tokenizerPath: string;
  /** The server's key; null when it asks for none. */
  readonly apiKey: string | null;
  readonly onListenerError?: ((error: unknown) => void) | undefined;
}

/**
 * Opens the vocabulary; the server is first asked when a sequence comes. The caller owns the model and closes it.
 * @throws AppError INVALID_REQUEST when the tokenizer's file cannot be used
 */
export function createRemoteModel(options: RemotePoolOptions): ServedModel {
  const vocabulary = openVocabulary(options.tokenizerPath);
  try {
    return remoteModel(options, vocabulary);
  } catch (error) {
    vocabulary.close();
    throw error;
  }
}

/** As createRemoteModel, over an open vocabulary, which it owns once it returns. */
export function remoteModel(
  { pool, apiKey, onListenerError }: Omit<RemotePoolOptions, 'tokenizerPath'>,
  vocabulary: Vocabulary,
): ServedModel {
  const { server, model, timeouts } = pool;
  const { callOf, ...speech } =
    server === 'openai' ? byText(model, vocabulary) : byTokens(server, model, vocabulary);
  const Agent = pool.base_url.startsWith('https:') ? https.Agent : http.Agent;
  const agent = new Agent({ keepAlive: true });
  const connection = {
    headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}` },
    timeouts: {
      connectMs: timeouts.connect_ms,
      firstEventMs: timeouts.first_token_ms,
      betweenEventsMs: timeouts.between_tokens_ms,
    },
    agent,
  };
  const client: RemoteClient = async function* (request, signal) {
    const { path, body } = callOf(request);
    const url = new URL(`${pool.base_url.replace(/\/+$/, '')}/${path}`);
    const events = postForEvents(url, { ...connection, body: JSON.stringify(body), signal });
    for await (const data of events) {
      if (data === '[DONE]') return;
      const chunk = readChunk(data);
      yield { ...chunk, tokenIds: tokenIdsOf(chunk, server, vocabulary) };
    }
  };
  const engine = new RemoteEngine({
    client,
    maxNumSeqs: pool.max_num_seqs,
    contextLength: pool.context_length,
    vocabSize: vocabulary.vocabSize,
    unsupportedParam: (sampling) => unsupportedParam(server, sampling),
    unavailableMs: timeouts.unavailable_ms,
    onListenerError,
  });
  return {
    name: model,
    contextLength: pool.context_length,
    engine,
    ...speech,
    encodeText: (text) => [...vocabulary.encode(text)],
    tokenBytes: (id) => vocabulary.bytesOf(id),
    createTextStream: (stop) => new TokenTextStream((id) => vocabulary.bytesOf(id), stop),
    close: async () => {
      await engine.close();
      agent.destroy();
      vocabulary.close();
    },
  };
}

/** How a pool's sequences are put to its server. */
type Speech = Pick<ServedModel, 'continuation' | 'stopTokenIds' | 'encodePrompt'> & {
  readonly callOf: (request: SequenceRequest) => CompletionCall;
};

/** The template and the ends are ours, the server takes and gives ids. */
function byTokens(
  server: Exclude<RemoteServer, 'openai'>,
  model: string,
  vocabulary: Vocabulary,
): Speech {
  const template = chatTemplateOf(vocabulary.family, vocabulary);
  return {
    continuation: 'tokens',
    stopTokenIds: stopTokenIdsOf(template, vocabulary.eosTokenId, vocabulary),
    encodePrompt: (messages) => template.render(messages),
    callOf: (request) => callByTokens(server, model, request),
  };
}

/** The template and the ends are the server's; ids only carry messages from here to the client. */
function byText(model: string, vocabulary: Vocabulary): Speech {
  const codec = new MessageCodec(vocabulary);
  return {
    continuation: 'text',
    stopTokenIds: [],
    encodePrompt: (messages) => codec.encode(messages),
    callOf: (request) => callByText(model, request, codec),
  };
}
