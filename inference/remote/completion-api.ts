// What is sent to an OpenAI-compatible server for a sequence, and what its chunks mean. Bodies name every parameter that
// the contract fixes: servers fill those left out from the model's files. vLLM and SGLang: `return_token_ids` of
// /v1/completions; llama.cpp's server: ids come with `logprobs`.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { RemotePool } from '../../contracts/catalog.ts';
import type { SamplingParams, SequenceRequest } from '../../contracts/engine.ts';
import { AppError } from '../../contracts/errors.ts';
import type { MessageCodec } from './message-codec.ts';

export type RemoteServer = RemotePool['server'];

export interface CompletionCall {
  /** Below the API's root. */
  readonly path: 'completions' | 'chat/completions';
  readonly body: Readonly<Record<string, unknown>>;
}

/** The first parameter of a request that cannot be had from a server of this kind; null when all can. */
export function unsupportedParam(server: RemoteServer, sampling: SamplingParams): string | null {
  if ((sampling.logprobs ?? null) !== null) return 'logprobs';
  if (sampling.choices !== undefined) return 'choices';
  if (server !== 'openai') return null;
  if (sampling.topK > 0) return 'topK';
  if ((sampling.minP ?? 0) > 0) return 'minP';
  if ((sampling.repetitionPenalty ?? 1) !== 1) return 'repetitionPenalty';
  return (sampling.logitBias ?? []).length > 0 ? 'logitBias' : null;
}

/** By token ids, in and out. */
export function callByTokens(
  server: Exclude<RemoteServer, 'openai'>,
  model: string,
  request: SequenceRequest,
): CompletionCall {
  const { promptTokenIds, outputTokenIds, sampling, stopTokenIds, cacheScope, seqId } = request;
  const common = {
    ...standardFields(model, request),
    prompt: [...promptTokenIds, ...outputTokenIds],
    top_k: sampling.topK === 0 ? -1 : sampling.topK,
    min_p: sampling.minP ?? 0,
  };
  const biases = sampling.logitBias ?? [];
  if (server === 'llama.cpp') {
    return {
      path: 'completions',
      body: {
        ...common,
        repeat_penalty: sampling.repetitionPenalty ?? 1,
        // Penalties look at the whole context, not at its last 64 tokens.
        repeat_last_n: promptTokenIds.length + request.maxTokens,
        logit_bias: biases,
        logprobs: 1,
        cache_prompt: cacheScope !== null,
      },
    };
  }
  return {
    path: 'completions',
    body: {
      ...common,
      repetition_penalty: sampling.repetitionPenalty ?? 1,
      ...(biases.length === 0 ? {} : { logit_bias: Object.fromEntries(biases) }),
      stop_token_ids: stopTokenIds,
      return_token_ids: true,
      // Tenants do not find each other's prefixes. Hashed, so that a server's log holds no user's id.
      cache_salt: createHash('sha256')
        .update(cacheScope?.tenant ?? seqId)
        .digest('hex'),
    },
  };
}

/** By messages; a reply that was cut is the last of them, to be gone on with. */
export function callByText(
  model: string,
  request: SequenceRequest,
  codec: MessageCodec,
): CompletionCall {
  const messages = codec.decode(request.promptTokenIds);
  const begun = codec.textOf(request.outputTokenIds);
  const body = { ...standardFields(model, request), messages };
  if (begun === '') return { path: 'chat/completions', body };
  return {
    path: 'chat/completions',
    body: {
      ...body,
      messages: [...messages, { role: 'assistant', content: begun }],
      // A server that knows neither must say so rather than begin the reply anew.
      continue_final_message: true,
      add_generation_prompt: false,
    },
  };
}

function standardFields(model: string, request: SequenceRequest): Record<string, unknown> {
  const { sampling, maxTokens, outputTokenIds } = request;
  return {
    model,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: maxTokens - outputTokenIds.length,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    frequency_penalty: sampling.frequencyPenalty ?? 0,
    presence_penalty: sampling.presencePenalty ?? 0,
    // Servers draw by (seed, tokens since the request): a reply that goes on must not draw its beginning's numbers again.
    // 31 bits, because llama.cpp takes the largest 32-bit number for "any".
    seed: (sampling.seed + outputTokenIds.length) & 0x7fff_ffff,
  };
}

const id = z.int().min(0);
const choice = z.object({
  text: z.string().nullish(),
  delta: z.object({ content: z.string().nullish() }).nullish(),
  token_ids: z.array(id).nullish(),
  logprobs: z.object({ content: z.array(z.object({ id: id.optional() })).nullish() }).nullish(),
  finish_reason: z.string().nullish(),
});
const chunkSchema = z.object({
  choices: z.array(choice).default([]),
  usage: z
    .object({
      prompt_tokens: id,
      prompt_tokens_details: z.object({ cached_tokens: id.nullish() }).nullish(),
    })
    .nullish(),
  error: z.unknown().optional(),
});

export interface CompletionChunk {
  readonly text: string;
  /** Null when the server sent none. */
  readonly tokenIds: readonly number[] | null;
  /** Null until the reply ends. */
  readonly finish: 'stop' | 'length' | null;
  /** Null until the server has counted. */
  readonly usage: { readonly promptTokens: number; readonly cachedTokens: number } | null;
}

/** @throws AppError GENERATION_FAILED when it is no chunk, tells of an error or ends the reply in a way of its own */
export function readChunk(data: string): CompletionChunk {
  const parsed = chunkSchema.safeParse(jsonOf(data));
  if (!parsed.success) throw malformed();
  const { choices, usage, error } = parsed.data;
  if (error !== undefined && error !== null)
    throw new AppError('GENERATION_FAILED', { message: 'the pool’s server reports an error' });
  const [first] = choices;
  const withLogprobs = first?.logprobs?.content?.map((each) => each.id);
  const told = first?.token_ids ?? withLogprobs?.filter((each) => each !== undefined);
  return {
    text: first?.text ?? first?.delta?.content ?? '',
    tokenIds: told ?? null,
    finish: finishOf(first?.finish_reason ?? null),
    usage: usage
      ? {
          promptTokens: usage.prompt_tokens,
          cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
        }
      : null,
  };
}

function finishOf(reason: string | null): 'stop' | 'length' | null {
  if (reason === null || reason === 'stop' || reason === 'length') return reason;
  // The vendor's own judgement of the text: asking again would get the same answer.
  if (reason === 'content_filter')
    throw new AppError('INVALID_REQUEST', { message: 'the pool’s server withheld the reply' });
  throw new AppError('GENERATION_FAILED', { message: 'the pool’s server gave the reply up' });
}

function jsonOf(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw malformed();
  }
}

function malformed(): AppError {
  return new AppError('GENERATION_FAILED', { message: 'the pool’s server sent no valid chunk' });
}
