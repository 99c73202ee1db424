import {
  callByText,
  callByTokens,
  readChunk,
  unsupportedParam,
} from '../../../../inference/remote/completion-api.ts';
import type { SamplingParams } from '../../../../contracts/engine.ts';
import { MessageCodec } from '../../../../inference/remote/message-codec.ts';
import { byteVocabulary } from '../../../helpers/byte-vocabulary.ts';
import { sequenceRequest } from '../../../helpers/engine-runs.ts';

const SAMPLING = { temperature: 0.7, topP: 0.9, topK: 40, seed: 5 };
const EVERYTHING: SamplingParams = {
  ...SAMPLING,
  minP: 0.05,
  repetitionPenalty: 1.2,
  frequencyPenalty: 0.3,
  presencePenalty: 0.4,
  logitBias: [[17, -100]],
};

describe('callByTokens', () => {
  it.each(['vllm', 'sglang'] as const)('asks %s for everything that a sequence says', (server) => {
    const request = sequenceRequest([1, 2, 3], {
      outputTokenIds: [4, 5],
      maxTokens: 10,
      sampling: EVERYTHING,
      stopTokenIds: [9],
    });
    const { path, body } = callByTokens(server, 'm', request);
    expect(path).toBe('completions');
    expect(body).toEqual({
      model: 'm',
      stream: true,
      stream_options: { include_usage: true },
      prompt: [1, 2, 3, 4, 5],
      max_tokens: 8,
      temperature: 0.7,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      repetition_penalty: 1.2,
      frequency_penalty: 0.3,
      presence_penalty: 0.4,
      logit_bias: { 17: -100 },
      seed: 7,
      stop_token_ids: [9],
      return_token_ids: true,
      cache_salt: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('asks llama.cpp for ids by way of logprobs, and to cache only what may be found', () => {
    const sampling = { ...SAMPLING, topK: 0 };
    const { body } = callByTokens('llama.cpp', 'm', sequenceRequest([1], { sampling }));
    expect(body).toMatchObject({
      prompt: [1],
      logprobs: 1,
      cache_prompt: true,
      top_k: -1,
      min_p: 0,
      repeat_penalty: 1,
      logit_bias: [],
    });
    const all = callByTokens('llama.cpp', 'm', sequenceRequest([1], { sampling: EVERYTHING }));
    expect(all.body).toMatchObject({
      min_p: 0.05,
      repeat_penalty: 1.2,
      repeat_last_n: 11,
      frequency_penalty: 0.3,
      presence_penalty: 0.4,
      logit_bias: [[17, -100]],
    });
    expect(body).not.toHaveProperty('cache_salt');
    const alone = sequenceRequest([1], { cacheScope: null });
    expect(callByTokens('llama.cpp', 'm', alone).body).toMatchObject({ cache_prompt: false });
  });

  it('salts a tenant’s cache alike, another’s differently, and one that has none by its sequence', () => {
    const saltOf = (cacheScope: { tenant: string; numSharedTokens: number } | null): unknown =>
      callByTokens('vllm', 'm', sequenceRequest([1], { cacheScope })).body['cache_salt'];
    const [one, other] = ['one', 'other'].map((tenant) => ({ tenant, numSharedTokens: 0 }));
    const salts = [saltOf(one ?? null), saltOf(one ?? null), saltOf(other ?? null)];
    expect(salts[1]).toBe(salts[0]);
    expect(new Set([...salts, saltOf(null), saltOf(null)]).size).toBe(4);
    expect(salts.join()).not.toContain('other');
  });

  it('never asks for the seed that means any seed', () => {
    const sampling = { ...SAMPLING, seed: 0xffff_ffff };
    const seedOf = (outputTokenIds: number[]): unknown =>
      callByTokens('llama.cpp', 'm', sequenceRequest([1], { sampling, outputTokenIds })).body[
        'seed'
      ];
    expect(seedOf([])).toBe(0x7fff_ffff);
    expect(seedOf([1])).toBe(0);
  });
});

describe('unsupportedParam', () => {
  const off = { ...SAMPLING, topK: 0 };

  it.each(['vllm', 'sglang', 'llama.cpp'] as const)('finds logprobs alone on %s', (server) => {
    expect(unsupportedParam(server, EVERYTHING)).toBeNull();
    expect(unsupportedParam(server, { ...EVERYTHING, logprobs: 0 })).toBe('logprobs');
  });

  it.each([
    ['topK', { topK: 1 }],
    ['minP', { minP: 0.1 }],
    ['repetitionPenalty', { repetitionPenalty: 1.1 }],
    ['logitBias', { logitBias: [[1, 1]] as const }],
    ['logprobs', { logprobs: 0 }],
    [null, { minP: 0, repetitionPenalty: 1, logitBias: [], logprobs: null }],
  ])('finds %s on any other server', (param, more) => {
    expect(unsupportedParam('openai', { ...off, ...more })).toBe(param);
  });
});

describe('callByText', () => {
  const codec = new MessageCodec(byteVocabulary());
  const messages = [
    { role: 'system' as const, content: 'Be brief.' },
    { role: 'user' as const, content: 'Hi.\n<|im_end|>' },
  ];
  const prompt = codec.encode(messages);

  it('sends the messages and only what any server knows', () => {
    const request = sequenceRequest(prompt, { sampling: SAMPLING, maxTokens: 10 });
    expect(callByText('m', request, codec)).toEqual({
      path: 'chat/completions',
      body: {
        model: 'm',
        stream: true,
        stream_options: { include_usage: true },
        messages,
        max_tokens: 10,
        temperature: 0.7,
        top_p: 0.9,
        frequency_penalty: 0,
        presence_penalty: 0,
        seed: 5,
      },
    });
  });

  it('sends a reply that was cut as the last message, to be gone on with', () => {
    const outputTokenIds = [...Buffer.from('Hé')];
    const request = sequenceRequest(prompt, { outputTokenIds, maxTokens: 10 });
    expect(callByText('m', request, codec).body).toMatchObject({
      messages: [...messages, { role: 'assistant', content: 'Hé' }],
      continue_final_message: true,
      add_generation_prompt: false,
      max_tokens: 7,
    });
  });
});

describe('readChunk', () => {
  const NOTHING = { text: '', tokenIds: null, finish: null, usage: null };

  it.each([
    [
      'vLLM’s first',
      {
        choices: [
          { index: 0, text: 'a', token_ids: [1, 2], prompt_token_ids: [3], logprobs: null },
        ],
      },
      { ...NOTHING, text: 'a', tokenIds: [1, 2] },
    ],
    [
      'llama.cpp’s',
      {
        choices: [
          { text: 'a', logprobs: { content: [{ id: 7, token: 'a' }] }, finish_reason: null },
        ],
      },
      { ...NOTHING, text: 'a', tokenIds: [7] },
    ],
    [
      'a chat’s',
      { choices: [{ delta: { role: 'assistant', content: 'a' }, finish_reason: null }] },
      { ...NOTHING, text: 'a' },
    ],
    [
      'an empty delta',
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
      { ...NOTHING, finish: 'stop' },
    ],
    [
      'the usage',
      { choices: [], usage: { prompt_tokens: 9, prompt_tokens_details: { cached_tokens: 4 } } },
      { ...NOTHING, usage: { promptTokens: 9, cachedTokens: 4 } },
    ],
    [
      'a usage without details',
      { usage: { prompt_tokens: 9, prompt_tokens_details: null } },
      { ...NOTHING, usage: { promptTokens: 9, cachedTokens: 0 } },
    ],
  ])('reads %s chunk', (_, chunk, expected) => {
    expect(readChunk(JSON.stringify(chunk))).toEqual(expected);
  });

  it.each([
    ['no JSON', '{"choices":', 'GENERATION_FAILED'],
    ['no object', '7', 'GENERATION_FAILED'],
    ['ids that are none', '{"choices":[{"text":"a","token_ids":[-1]}]}', 'GENERATION_FAILED'],
    ['an error', '{"error":{"message":"SECRET"}}', 'GENERATION_FAILED'],
    ['an abort', '{"choices":[{"text":"","finish_reason":"abort"}]}', 'GENERATION_FAILED'],
    ['a filter', '{"choices":[{"delta":{},"finish_reason":"content_filter"}]}', 'INVALID_REQUEST'],
  ])('fails on %s without repeating it', (_, data, code) => {
    expect(() => readChunk(data)).toThrow(
      expect.objectContaining({ code, message: expect.not.stringContaining('SECRET') }),
    );
  });
});
