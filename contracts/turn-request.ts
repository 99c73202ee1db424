// What a client asked of one turn, in the words of the code: stored with the request, read by the workflow's steps.
import { z } from 'zod';
import type { ConversationId, OrgId, TurnId, UserId } from './ids.ts';
import { MAX_TOP_LOGPROBS } from './logprobs.ts';
import { MAX_SAMPLES } from './samples.ts';
import type { Role, Tier } from './turn-facts.ts';

const penalty = z.number().min(-2).max(2).default(0);

/**
 * Generation parameters as stored in `turn_requests.params`; every value is resolved. The defaults are for rows that were
 * written before their fields existed. See SamplingParams for what they mean.
 */
export const turnParams = z.strictObject({
  maxTokens: z.int().min(1),
  temperature: z.number().min(0).max(2),
  topP: z.number().gt(0).max(1),
  topK: z.int().min(0).default(0),
  minP: z.number().min(0).max(1).default(0),
  repetitionPenalty: z.number().gt(0).max(2).default(1),
  frequencyPenalty: penalty,
  presencePenalty: penalty,
  logitBias: z
    .array(z.tuple([z.int().min(0), z.number().min(-100).max(100)]))
    .max(300)
    .default([]),
  seed: z.int().min(0).max(0xffff_ffff),
  /** Replies to make. */
  n: z.int().min(1).max(MAX_SAMPLES).default(1),
  /** Alternatives shown beside each token's logprob; null shows none at all. */
  logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).nullable().default(null),
  stop: z.array(z.string().min(1)).max(4),
  reasoning: z.boolean(),
});
export type TurnParams = z.infer<typeof turnParams>;

/** The caller behind a bearer token. */
export interface Principal {
  readonly userId: UserId;
  readonly orgId: OrgId;
  readonly tier: Tier;
  readonly role: Role;
}

/** An accepted turn, as the gateway writes it before the workflow starts. */
export interface AcceptedTurn {
  readonly turnId: TurnId;
  readonly userTurnId: TurnId;
  readonly conversationId: ConversationId;
  readonly userId: UserId;
  readonly parentTurnId: TurnId | null;
  readonly replacesTurnId: TurnId | null;
  readonly isRegeneration: boolean;
  /** The user's text; null when a reply is regenerated. */
  readonly content: string | null;
  /** Of `content`, by the served model's tokenizer; left out where the gateway has none. */
  readonly tokenCount?: number | undefined;
  readonly params: TurnParams;
  readonly model: string;
  readonly pool: string;
  readonly idempotencyKey: string | null;
  /** SHA-256 of the request that the key stands for. */
  readonly bodyHash: Buffer | null;
}
