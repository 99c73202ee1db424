// The prompt of a generation, assembled by the worker from the store: nothing of it passes through Temporal.
import type { Catalog } from '../contracts/catalog.ts';
import type { CacheScope, SamplingParams, ServedModel } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { openData } from '../contracts/open-entry.ts';
import type { OpenData } from '../contracts/turn-events.ts';
import type { TurnParams } from '../contracts/turn-request.ts';
import type { GenerateInput } from '../contracts/turn-workflow.ts';
import { branchTo } from '../conversation/branch.ts';
import { planPrompt } from '../conversation/prompt.ts';
import { promptRows } from '../postgres/conversation-prompt.ts';
import type { Stores } from '../postgres/stores.ts';

export interface PreparedPrompt {
  readonly tokenIds: readonly number[];
  readonly params: TurnParams;
  readonly sampling: SamplingParams;
  /** Output tokens that the request allows and the context has room for. */
  readonly maxTokens: number;
  readonly cacheScope: CacheScope;
  /** The log's first entry, should it have to be written again. */
  readonly open: OpenData;
}

interface PromptDeps {
  readonly stores: Stores;
  readonly catalog: Catalog;
  readonly model: ServedModel;
}

/** Turns read to find the branch: more than any context served here can hold of real messages. */
const MAX_TURNS = 400;

/** The same rows give the same prompt, whichever worker assembles it. @throws AppError TURN_DELETED, CONTEXT_LENGTH_EXCEEDED */
export async function preparePrompt(
  { stores, catalog, model }: PromptDeps,
  input: GenerateInput,
): Promise<PreparedPrompt> {
  const found = await promptRows(stores.primaryOf(input.userId), input, MAX_TURNS);
  if (found === null) throw new AppError('TURN_DELETED');
  const { params, systemPrompt, turns } = found;
  const pool = catalog.pools[input.pool];
  const contextLength = Math.min(model.contextLength, pool?.context_length ?? model.contextLength);
  // History may not squeeze the reply below what was asked for, nor the reply take more than half of the context from it.
  const room = Math.min(params.maxTokens, Math.floor(contextLength / 2));
  const branch = branchTo(turns, input.userTurnId);
  const plan = planPrompt(
    systemPrompt ?? catalog.system_prompt,
    branch,
    (messages) => model.encodePrompt(messages),
    contextLength - room,
  );
  if (plan === null) throw new AppError('CONTEXT_LENGTH_EXCEEDED');
  return {
    tokenIds: plan.tokenIds,
    params,
    sampling: samplingOf(params),
    maxTokens: Math.min(params.maxTokens, contextLength - plan.tokenIds.length),
    cacheScope: {
      tenant: input.userId,
      numSharedTokens: systemPrompt === null ? numOperatorTokens(model, catalog, plan.tokenIds) : 0,
    },
    open: openData({
      ...input,
      servedModel: catalog.models[input.model]?.served_model ?? input.model,
      numSamples: params.n,
    }),
  };
}

function samplingOf(params: TurnParams): SamplingParams {
  const { temperature, topP, topK, seed, minP, logitBias } = params;
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = params;
  const penalties = { repetitionPenalty, frequencyPenalty, presencePenalty };
  const logprobs = params.logprobs === null ? {} : { logprobs: params.logprobs };
  return { temperature, topP, topK, seed, minP, logitBias, ...penalties, ...logprobs };
}

/** How many of a prompt's first tokens are the operator's own words, the same in every conversation. */
function numOperatorTokens(
  model: ServedModel,
  catalog: Catalog,
  tokenIds: readonly number[],
): number {
  if (catalog.system_prompt === '') return 0;
  const alone = operatorTokens(model, catalog.system_prompt);
  const end = alone.findIndex((id, index) => id !== tokenIds[index]);
  return end < 0 ? alone.length : end;
}

const operatorPrompts = new WeakMap<ServedModel, { text: string; tokenIds: readonly number[] }>();

/** The operator's prompt alone, encoded once for a model. */
function operatorTokens(model: ServedModel, text: string): readonly number[] {
  const known = operatorPrompts.get(model);
  if (known?.text === text) return known.tokenIds;
  const tokenIds = model.encodePrompt([{ role: 'system', content: text }]);
  operatorPrompts.set(model, { text, tokenIds });
  return tokenIds;
}
