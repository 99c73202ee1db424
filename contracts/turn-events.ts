// One turn's entries: what a writer appends to the log, and what a reader sees as SSE. Design §3 and §4.
// The log entry's number is the SSE id. Field names are snake_case because these objects are the wire.
import { z } from 'zod';

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
});
export type OpenData = z.infer<typeof openData>;

/** `ids` are the model's token ids behind `text`; text may lag behind ids (partial UTF-8, a possible stop string). */
export const tokenData = z.object({ text: z.string(), ids: z.array(z.int()) });
export type TokenData = z.infer<typeof tokenData>;

export const doneData = z.object({
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

/** One log entry without its number. `safe` is never shown; `end` is shown as `done`. */
export const turnEntry = z.discriminatedUnion('type', [
  z.object({ type: z.literal('open'), data: openData }),
  z.object({ type: z.literal('token'), data: tokenData }),
  z.object({ type: z.literal('retry'), data: retryData }),
  z.object({ type: z.literal('safe'), data: safeData }),
  z.object({ type: z.literal('moderation'), data: moderationData }),
  z.object({ type: z.literal('error'), data: errorData }),
  z.object({ type: z.literal('end'), data: doneData }),
]);
export type TurnEntry = z.infer<typeof turnEntry>;

/** A log entry with its number n = 1, 2, 3 …; `open` is always 1. */
export type NumberedEntry = TurnEntry & { readonly n: number };
