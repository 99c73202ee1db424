// The prompt of a generation, assembled from the store by whoever needs it: the worker that generates, or a gateway whose
// caller asks to see it. Nothing of it passes through Temporal.
import type { Catalog } from '../contracts/catalog.ts';
import type { CacheScope, SamplingParams, ServedModel } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { openData } from '../contracts/open-entry.ts';
import type { OpenData } from '../contracts/turn-events.ts';
import type { TurnParams } from '../contracts/turn-request.ts';
import type { GenerateInput } from '../contracts/turn-workflow.ts';
import { planPrompt } from '../conversation/prompt.ts';
import type { EncodePrompt, PromptPlan } from '../conversation/prompt-draft.ts';
import type { ChosenFacts } from '../conversation/shown-facts.ts';
import { dayOf } from '../conversation/turn-day.ts';
import { promptRoom } from '../policy/prompt-room.ts';
import { promptRequest } from '../postgres/conversation-prompt.ts';
import type { PromptKeys, PromptRequest, RequestFacts } from '../postgres/conversation-prompt.ts';
import type { Db } from '../postgres/pool.ts';
import type { Stores } from '../postgres/stores.ts';
import { readBranch } from './prompt-branch.ts';
import type { BranchKeys } from './prompt-branch.ts';

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

/** The same rows give the same prompt, whichever worker assembles it. @throws AppError TURN_DELETED, CONTEXT_LENGTH_EXCEEDED */
export async function preparePrompt(
  { stores, catalog, model }: PromptDeps,
  input: GenerateInput,
): Promise<PreparedPrompt> {
  const pool = catalog.pools[input.pool];
  const contextLength = Math.min(model.contextLength, pool?.context_length ?? model.contextLength);
  const db = stores.primaryOf(input.userId);
  const encode: EncodePrompt = (messages) => model.encodePrompt(messages);
  const assembled = await assemblePrompt({ db, catalog, encode, contextLength }, input, true);
  if (assembled === null) throw new AppError('TURN_DELETED');
  const { request, plan } = assembled;
  if (plan === null) throw new AppError('CONTEXT_LENGTH_EXCEEDED');
  const { params, systemPrompt } = request;
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

export interface AssemblyDeps {
  readonly db: Db;
  readonly catalog: Catalog;
  /** Of the model that answers. */
  readonly encode: EncodePrompt;
  /** Tokens of prompt + reply. */
  readonly contextLength: number;
}

export interface AssembledPrompt {
  readonly request: PromptRequest;
  /** Null when the message does not fit, or is missing. */
  readonly plan: PromptPlan | null;
  /** The message is not stored. */
  readonly isMissing: boolean;
  /** Tokens that the prompt may take. */
  readonly room: number;
}

/** @param isOpen of a turn that has not ended only @returns null when there is no such turn */
export async function assemblePrompt(
  { db, catalog, encode, contextLength }: AssemblyDeps,
  keys: PromptKeys & BranchKeys,
  isOpen: boolean,
): Promise<AssembledPrompt | null> {
  // What the reply will take is not known before the request is; nothing smaller than half of the context is left for it.
  const asked = promptRequest(db, keys, isOpen);
  const reading = readBranch(db, catalog, keys, asked, contextLength);
  const [request, { summaries, turns }] = await Promise.all([asked, reading]);
  if (request === null) return null;
  const room = promptRoom(contextLength, request.params.maxTokens);
  const chosenFacts = (request.facts ?? []).map(withDays);
  const own = chosenFacts.find(({ turnId }) => turnId === keys.turnId);
  const plan = planPrompt(
    {
      systemPrompt: request.systemPrompt ?? catalog.system_prompt,
      summaries,
      turns,
      chosenFacts,
      ownFacts: request.facts === null ? null : (own?.facts ?? []),
    },
    encode,
    room,
  );
  return { request, plan, isMissing: turns.length === 0, room };
}

function withDays({ turnId, numSamples, facts }: RequestFacts): ChosenFacts {
  const dated = facts.map(({ factId, text, createdAt }) => ({
    factId,
    text,
    day: dayOf(createdAt),
  }));
  return { turnId, numSamples, facts: dated };
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
