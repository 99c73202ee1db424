// From the parameters of a POST body to those that are stored: every default is filled in here, once.
import { randomInt } from 'node:crypto';
import type { TurnBody } from '../contracts/api.ts';
import type { CatalogModel } from '../contracts/catalog.ts';
import type { TurnParams } from '../contracts/turn-request.ts';

const DEFAULT_TEMPERATURE = 0.7;
const DEFAULT_TOP_P = 0.95;

export function turnParamsOf(body: TurnBody, model: CatalogModel): TurnParams {
  return {
    maxTokens: Math.min(body.max_tokens ?? model.default_output_tokens, model.max_output_tokens),
    temperature: body.temperature ?? DEFAULT_TEMPERATURE,
    topP: body.top_p ?? DEFAULT_TOP_P,
    topK: body.top_k ?? 0,
    minP: body.min_p ?? 0,
    repetitionPenalty: body.repetition_penalty ?? 1,
    frequencyPenalty: body.frequency_penalty ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    logitBias: Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias]),
    // Chosen here and stored, so that every attempt at the turn draws the same numbers.
    seed: body.seed ?? randomInt(2 ** 32),
    n: body.n ?? 1,
    logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
    stop: body.stop ?? [],
    reasoning: body.reasoning ?? false,
  };
}
