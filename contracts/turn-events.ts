// One turn's entries: what a writer appends to the log, and what a reader sees as SSE. Design §3 and §4.
// The log entry's number is the SSE id. Field names are snake_case because these objects are the wire.
import { z } from 'zod';
import { loggedLogprob } from './logprobs.ts';

const usage = z.object({
  prompt_tokens: z.int().min(0),
  completion_tokens: z.int().min(0),
  cached_tokens: z.int().min(0),
  cost_usd: z.number().min(0),
});
export type WireUsage = z.infer<typeof usage>;

export const openData = z.object({
  turn_id: z.string(),
  user_turn_id: z.string(),
  conversation_id: z.string(),
  model: z.string(),
  served_model: z.string(),
  pool: z.string(),
  /** With n > 1: the ids under which the replies will be stored, in order of their index. */
  turn_ids: z.array(z.string()).optional(),
  /** Facts of the user's memory that the model was told for this turn, best first; absent when there are none. */
  memory: z.array(z.string()).optional(),
});
export type OpenData = z.infer<typeof openData>;

/** Which of a turn's replies; absent when there is one. */
const index = z.int().min(0).optional();

/**
 * `ids` are the model's token ids behind `text`; text may lag behind ids (partial UTF-8, a possible stop string).
 * `at` is how many UTF-16 units of the reply come before `text`: what a reader who has some of a lost log's text goes by.
 * `logprobs` are the ids', when they were asked for.
 */
export const tokenData = z.object({
  text: z.string(),
  ids: z.array(z.int()),
  at: z.int().min(0).optional(),
  index,
  logprobs: z.array(loggedLogprob).optional(),
});
export type TokenData = z.infer<typeof tokenData>;

export const doneData = z.object({
  index,
  turn_id: z.string(),
  finish_reason: z.enum(['stop', 'length', 'cancelled', 'content_filter', 'error']),
  usage,
});
export type DoneData = z.infer<typeof doneData>;

const moderationData = z.object({ category: z.string() });
const errorData = z.object({ code: z.string(), message: z.string() });
/** `continuation` says how the text goes on: see Continuation in engine.ts. Absent when there was no text yet. */
const retryData = z.object({
  attempt: z.int(),
  continuation: z.enum(['tokens', 'text']).optional(),
});
const safeData = z.object({ through: z.int() });
/** Stands for an entry that Redis lost and nobody remembers. `is_whole`: who has it has the texts of all replies. */
const lostData = z.object({ is_whole: z.boolean() });
/** With n > 1: the reply is complete, though others may go on. Its `done` comes when all are stored. */
const finishData = z.object({ index: z.int().min(0), reason: z.enum(['stop', 'length']) });

/**
 * One log entry without its number. `safe`, `lost` and `finish` are never shown. `end` is shown as `done`; with n > 1 it is that of
 * the last reply, and those of the others are `done` entries directly before it.
 */
export const turnEntry = z.discriminatedUnion('type', [
  z.object({ type: z.literal('open'), data: openData }),
  z.object({ type: z.literal('token'), data: tokenData }),
  z.object({ type: z.literal('retry'), data: retryData }),
  z.object({ type: z.literal('safe'), data: safeData }),
  z.object({ type: z.literal('lost'), data: lostData }),
  z.object({ type: z.literal('finish'), data: finishData }),
  z.object({ type: z.literal('moderation'), data: moderationData }),
  z.object({ type: z.literal('error'), data: errorData }),
  z.object({ type: z.literal('done'), data: doneData }),
  z.object({ type: z.literal('end'), data: doneData }),
]);
export type TurnEntry = z.infer<typeof turnEntry>;

/** A log entry with its number n = 1, 2, 3 …; `open` is always 1. */
export type NumberedEntry = TurnEntry & { readonly n: number };
