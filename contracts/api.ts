// The public API's requests and responses, v1: what is not here is refused, and the OpenAPI document is made from here.
import { z } from 'zod';
import { MAX_FACT_CHARS } from './fact-text.ts';
import { MAX_TOP_LOGPROBS, replyLogprobs } from './logprobs.ts';
import { MAX_SAMPLES } from './samples.ts';
import { doneData } from './turn-events.ts';
import { FINISH_REASONS, TIERS } from './turn-facts.ts';

/** Text as the service keeps it: lone surrogates become U+FFFD, NUL is refused (no text column holds it). */
const text = (maxLength: number): z.ZodPipe<z.ZodString, z.ZodTransform<string, string>> =>
  z
    .string()
    .max(maxLength)
    .refine((each) => !each.includes('\0'), 'must not contain NUL')
    .transform((each) => each.toWellFormed());

const MAX_CONTENT = 256 * 1024;

const MAX_BIASES = 300;
const tokenId = z.string().regex(/^(0|[1-9]\d{0,6})$/, 'must be a token id');
const logitBias = z
  .record(tokenId, z.number().min(-100).max(100))
  .refine(
    (biases) => Object.keys(biases).length <= MAX_BIASES,
    `must not name more than ${MAX_BIASES} tokens`,
  )
  .meta({ maxProperties: MAX_BIASES });
const penalty = z.number().min(-2).max(2);

const uuid = z.uuid();

export const createConversationBody = z.strictObject({
  model: z.string().min(1).max(100).optional(),
  system_prompt: text(32 * 1024).optional(),
  region: z.string().min(1).max(100).optional(),
  title: text(200).optional(),
});

export const changeConversationBody = z
  .strictObject({
    title: text(200).nullable().optional(),
    archived: z.boolean().optional(),
    /** A turn of the branch to go on with. */
    active_turn_id: uuid.optional(),
    memory_enabled: z.boolean().optional(),
    training_eligible: z.boolean().optional(),
  })
  .refine(
    (body) => Object.values(body).some((each) => each !== undefined),
    'must name what to change',
  );

export const turnBody = z
  .strictObject({
    role: z.literal('user'),
    content: text(MAX_CONTENT).optional(),
    parent_turn_id: uuid.optional(),
    edit_of: uuid.optional(),
    regenerate_of: uuid.optional(),
    model: z.string().min(1).max(100).optional(),
    reasoning: z.boolean().optional(),
    max_tokens: z.int().min(1).max(1_000_000).optional(),
    temperature: z.number().min(0).max(2).optional(),
    // Not down to 0: the engine's 32-bit numbers would make 0 of what is much smaller.
    top_p: z.number().min(1e-6).max(1).optional(),
    top_k: z.int().min(0).max(1_000_000).optional(),
    min_p: z.number().min(0).max(1).optional(),
    repetition_penalty: z.number().min(1e-6).max(2).optional(),
    frequency_penalty: penalty.optional(),
    presence_penalty: penalty.optional(),
    logit_bias: logitBias.optional(),
    seed: z.int().min(0).max(0xffff_ffff).optional(),
    n: z.int().min(1).max(MAX_SAMPLES).optional(),
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).optional(),
    stop: z
      .array(text(100).refine((each) => each !== '', 'must not be empty'))
      .max(4)
      .optional(),
  })
  .superRefine((body, context) => {
    const wrong = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (body.regenerate_of === undefined && (body.content ?? '') === '')
      wrong('content', 'must be a text that is not empty');
    if (body.regenerate_of !== undefined && body.content !== undefined)
      wrong('content', 'must be left out with regenerate_of');
    if (body.top_logprobs !== undefined && body.logprobs !== true)
      wrong('top_logprobs', 'needs logprobs');
    const places = [body.parent_turn_id, body.edit_of, body.regenerate_of].filter(
      (each) => each !== undefined,
    );
    if (places.length > 1)
      wrong('parent_turn_id', 'only one of parent_turn_id, edit_of and regenerate_of may be given');
  });
export type TurnBody = z.infer<typeof turnBody>;

export const cancelBody = z.strictObject({ turn_id: uuid.optional() });

const factText = text(MAX_FACT_CHARS).refine((each) => each.trim() !== '', 'must not be empty');

export const changeMemoryBody = z.strictObject({
  add: z.array(factText).max(100).optional(),
  edit: z
    .array(z.strictObject({ fact_id: z.string().max(100), text: factText }))
    .max(100)
    .optional(),
  remove: z.array(z.string().max(100)).max(1000).optional(),
});

const settings = { memory_enabled: z.boolean(), training_eligible: z.boolean() };

export const changeSettingsBody = z
  .strictObject(settings)
  .partial()
  .refine((body) => Object.keys(body).length > 0, 'must name what to change');
export const userSettings = z.object(settings);

const limit = z
  .string()
  .regex(/^\d{1,3}$/, 'must be a number')
  .transform(Number)
  .pipe(z.number().min(1).max(100));

export const listQuery = z.strictObject({
  before: z.string().min(1).max(400).optional(),
  limit: limit.optional(),
});
export const noQuery = z.strictObject({});

const conversation = z.object({
  conversation_id: uuid,
  title: z.string().nullable(),
  model: z.string(),
  region: z.string(),
  system_prompt: z.string().nullable(),
  active_turn_id: uuid.nullable(),
  archived: z.boolean(),
  /** Facts are learnt from it and told to its turns. */
  memory_enabled: z.boolean(),
  training_eligible: z.boolean(),
  created_at: z.iso.datetime(),
  last_turn_at: z.iso.datetime(),
});
export type WireConversation = z.infer<typeof conversation>;

const turn = z.object({
  turn_id: uuid,
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  parent_turn_id: uuid.nullable(),
  replaces_turn_id: uuid.nullable(),
  model: z.string().nullable(),
  served_model: z.string().nullable(),
  finish_reason: z.enum(FINISH_REASONS).nullable(),
  usage: doneData.shape.usage.nullable(),
  error: z.object({ code: z.string() }).optional(),
  moderation: z.object({ category: z.string() }).optional(),
  /** Which of the replies of a turn with n > 1 it is. */
  index: z.int().optional(),
  created_at: z.iso.datetime(),
});
export type WireTurn = z.infer<typeof turn>;

const cursor = z.string().nullable();
export const createdConversation = z.object({
  conversation_id: uuid,
  region: z.string(),
  model: z.string(),
});
export const conversationList = z.object({
  conversations: z.array(conversation),
  next_cursor: cursor,
});
export const conversationPage = z.object({
  conversation,
  turns: z.array(turn),
  next_cursor: cursor,
});
export const changedConversation = z.object({ conversation });
export const turnReply = z.object({
  turn_id: uuid,
  user_turn_id: uuid,
  conversation_id: uuid,
  model: z.string(),
  served_model: z.string(),
  content: z.string(),
  finish_reason: z.enum(FINISH_REASONS),
  usage: doneData.shape.usage,
  /** Those that were asked for; not of a turn whose log has expired. */
  logprobs: replyLogprobs.optional(),
  /** With n > 1: all replies. The fields above are those of the first, `usage` is that of all. */
  samples: z
    .array(
      z.object({
        index: z.int(),
        turn_id: uuid,
        content: z.string(),
        finish_reason: z.enum(FINISH_REASONS),
        usage: doneData.shape.usage,
        logprobs: replyLogprobs.optional(),
      }),
    )
    .optional(),
  /** Facts that the model was told; absent when there are none. */
  memory: z.array(uuid).optional(),
});
export type TurnReply = z.infer<typeof turnReply>;
const promptPart = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('system'), text: z.string() }),
  z.object({
    kind: z.literal('summary'),
    summary_id: uuid,
    /** 0: of turns; above: of summaries. */
    level: z.int(),
    /** The path of turns that it stands for. */
    first_turn_id: uuid,
    last_turn_id: uuid,
    text: z.string(),
  }),
  z.object({ kind: z.literal('fact'), fact_id: uuid, text: z.string(), day: z.iso.date() }),
  z.object({ kind: z.literal('turn'), turn_id: uuid, text: z.string() }),
]);
export type WirePromptPart = z.infer<typeof promptPart>;
export const turnPrompt = z.object({
  turn_id: uuid,
  user_turn_id: uuid,
  model: z.string(),
  pool: z.string(),
  messages: z.array(
    z.object({
      role: z.enum(['system', 'user', 'assistant']),
      content: z.string(),
      /** What the content was made of, in order. */
      parts: z.array(promptPart),
    }),
  ),
  token_count: z.int(),
  /** Tokens that the prompt was allowed to take. */
  max_prompt_tokens: z.int(),
  left_out: z.object({
    /** Turns behind `after` (null: from the first on) and before `before`, neither shown nor summarised. */
    turns: z.object({ after: uuid.nullable(), before: uuid }).nullable(),
    empty_turn_ids: z.array(uuid),
    summary_ids: z.array(uuid),
    fact_ids: z.array(uuid),
  }),
  /** SHA-256 of the token ids, 32 bits each, little-endian: as assembled now, and as the engine got them. */
  sha256: z.string(),
  engine_sha256: z.string().nullable(),
  /** Null when no engine was asked. */
  matches_engine: z.boolean().nullable(),
});
export type WireTurnPrompt = z.infer<typeof turnPrompt>;
export const memoryFacts = z.object({
  facts: z.array(
    z.object({
      fact_id: uuid,
      text: z.string(),
      created_at: z.iso.datetime(),
      /** When a turn was last told of it. */
      last_used_at: z.iso.datetime().nullable(),
      /** Where it was said last; null for what the user added. */
      conversation_id: uuid.nullable(),
    }),
  ),
});
export const modelList = z.object({
  models: z.array(
    z.object({
      id: z.string(),
      tiers: z.array(z.enum(TIERS)),
      context_length: z.int(),
      reasoning: z.boolean(),
      prices: z.object({ input: z.number(), cached_input: z.number(), output: z.number() }),
    }),
  ),
});
const totals = {
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  cached_tokens: z.int(),
  cost_usd: z.number(),
};
export const usageReport = z.object({
  ...totals,
  by_model: z.array(z.object({ model: z.string(), ...totals })),
  by_day: z.array(z.object({ day: z.string(), ...totals })),
});
export const userErasure = z.object({ user_id: uuid, status: z.literal('deleting') });
/** A stream of one object: it may be large. */
export const userExport = z.object({
  exported_at: z.iso.datetime(),
  user: z.object({
    user_id: uuid,
    org_id: uuid,
    name: z.string(),
    tier: z.enum(TIERS),
    role: z.string(),
    created_at: z.iso.datetime(),
  }),
  facts: memoryFacts.shape.facts,
  usage: usageReport,
  conversations: z.array(conversation.extend({ turns: z.array(turn) })),
});
export const errorBody = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    param: z.string().optional(),
    retry_after: z.number().optional(),
    turn_id: uuid.optional(),
  }),
});
