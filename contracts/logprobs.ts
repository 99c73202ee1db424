// Logprobs of a reply's tokens: as the API shows them, with the names of OpenAI's chat API, and as the log keeps them.
import { z } from 'zod';

/** Most alternatives shown beside a token. */
export const MAX_TOP_LOGPROBS = 20;

const scored = {
  /** The token's text; U+FFFD where its bytes are no whole characters, empty for a control token. */
  token: z.string(),
  /** Natural logarithm of its probability in the model's own distribution. */
  logprob: z.number(),
  bytes: z.array(z.int().min(0).max(255)),
};

/** Of one output token. */
const tokenLogprob = z.object({ ...scored, top_logprobs: z.array(z.object(scored)) });

/** One for each output token, those of a stop string included, in order. */
export const replyLogprobs = z.object({ content: z.array(tokenLogprob) });
export type ReplyLogprobs = z.infer<typeof replyLogprobs>;

/** Null stands for the text's own bytes, as in nearly every token. */
const logged = [z.string(), z.number(), z.array(z.int()).nullable()] as const;

/** A third of the wire's length: token, logprob, bytes, alternatives. */
export const loggedLogprob = z.tuple([...logged, z.array(z.tuple(logged))]);
export type LoggedLogprob = z.infer<typeof loggedLogprob>;

export function wireLogprobs(all: readonly LoggedLogprob[]): ReplyLogprobs {
  return {
    content: all.map(([token, logprob, bytes, top]) => ({
      ...wireScored(token, logprob, bytes),
      top_logprobs: top.map((each) => wireScored(...each)),
    })),
  };
}

function wireScored(
  token: string,
  logprob: number,
  bytes: number[] | null,
): z.infer<z.ZodObject<typeof scored>> {
  return { token, logprob, bytes: bytes ?? [...new TextEncoder().encode(token)] };
}
