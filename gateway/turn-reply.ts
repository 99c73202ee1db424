// A whole turn as the one JSON reply to a client that did not ask for events. Pure.
import type { TurnReply } from '../contracts/api.ts';
import { AppError } from '../contracts/errors.ts';
import { wireLogprobs } from '../contracts/logprobs.ts';
import type {
  DoneData,
  NumberedEntry,
  OpenData,
  TokenData,
  WireUsage,
} from '../contracts/turn-events.ts';

/** @throws AppError STREAM_UNAVAILABLE when the entries are not all of the turn's */
export function replyOf(entries: readonly NumberedEntry[]): TurnReply {
  const open = entries.find((entry) => entry.type === 'open')?.data as OpenData | undefined;
  const samples = entries.flatMap(({ type, data }) =>
    type === 'done' || type === 'end' ? [sampleOf(data, entries)] : [],
  );
  const [first] = samples;
  if (open === undefined || first === undefined || entries.at(-1)?.type !== 'end')
    throw new AppError('STREAM_UNAVAILABLE');
  const { turn_id, user_turn_id, conversation_id, model, served_model } = open;
  return {
    turn_id,
    user_turn_id,
    conversation_id,
    model,
    served_model,
    content: first.content,
    finish_reason: first.finish_reason,
    usage: samples.map(({ usage }) => usage).reduce(sum),
    ...(first.logprobs === undefined ? {} : { logprobs: first.logprobs }),
    ...(open.turn_ids === undefined ? {} : { samples }),
    ...(open.memory === undefined ? {} : { memory: open.memory }),
  };
}

type Sample = NonNullable<TurnReply['samples']>[number];

function sampleOf(done: DoneData, entries: readonly NumberedEntry[]): Sample {
  const { index = 0, turn_id, finish_reason, usage } = done;
  const tokens: TokenData[] = entries.flatMap(({ type, data }) =>
    type === 'token' && (data.index ?? 0) === index ? [data] : [],
  );
  const content = tokens.map(({ text }) => text).join('');
  const logprobs = tokens.flatMap((each) => each.logprobs ?? []);
  return {
    index,
    turn_id,
    content,
    finish_reason,
    usage,
    ...(logprobs.length === 0 ? {} : { logprobs: wireLogprobs(logprobs) }),
  };
}

function sum(one: WireUsage, other: WireUsage): WireUsage {
  return {
    prompt_tokens: one.prompt_tokens + other.prompt_tokens,
    completion_tokens: one.completion_tokens + other.completion_tokens,
    cached_tokens: one.cached_tokens + other.cached_tokens,
    // In nanodollars, whose sums are exact.
    cost_usd: Math.round((one.cost_usd + other.cost_usd) * 1e9) / 1e9,
  };
}
