// What the page says in words and figures about answers. Pure.
import type { FinishReason, Usage } from './api-types.ts';

/** What a stored turn's error code means; the stream itself brings a sentence of its own. */
const ERROR_WORDS: Readonly<Record<string, string>> = {
  generation_failed: 'The model failed to answer.',
  generation_timeout: 'The model took too long.',
  context_length_exceeded: 'The message does not fit the model’s context.',
};

/**
 * Why an answer ended, in words; null for one that ended by itself, which needs none.
 * @param error its code, or the sentence that came with it
 */
export function finishWords(reason: FinishReason | null, error: string | null): string | null {
  switch (reason) {
    case 'cancelled':
      return 'Stopped. What was written until then is kept.';
    case 'length':
      return 'The answer reached its length limit and is cut off here.';
    case 'content_filter':
      return 'This answer was withheld by the content policy.';
    case 'error':
      return `${errorWords(error)} You can try again.`;
    case 'stop':
    case null:
      return null;
  }
}

function errorWords(error: string | null): string {
  const words = error === null ? undefined : (ERROR_WORDS[error] ?? error);
  // A code without words of ours is not for readers.
  if (words === undefined || /^[a-z_]+$/.test(words)) return 'Something went wrong.';
  return /[.!?]$/.test(words) ? words : `${words}.`;
}

/** `812 ms`, `2.4 s`. */
export function durationWords(ms: number): string {
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** `$0.0042`: small sums keep two telling digits; none is `$0`. */
export function costWords(usd: number): string {
  if (usd <= 0) return '$0';
  if (usd >= 1) return `$${usd.toFixed(2)}`;
  const digits = Math.min(8, 1 - Math.floor(Math.log10(usd)));
  return `$${usd.toFixed(Math.max(2, digits))}`;
}

const number = new Intl.NumberFormat('en');

export interface UsageWords {
  readonly short: string;
  /** The whole account, for a tooltip. */
  readonly long: string;
}

/** `312 tokens`, and what they were. */
export function usageWords(usage: Usage): UsageWords {
  const [prompt, completion, cached] = [
    usage.prompt_tokens,
    usage.completion_tokens,
    usage.cached_tokens,
  ].map((count) => number.format(count));
  return {
    short: `${completion} ${usage.completion_tokens === 1 ? 'token' : 'tokens'}`,
    long: `Prompt ${prompt} tokens (${cached} cached), answer ${completion} tokens, ${costWords(usage.cost_usd)}`,
  };
}

/** `12 s`, `1 min 5 s`; never less than a second, so that a countdown ends with the try. */
export function countdownWords(ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
