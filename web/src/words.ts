// What the page says in words and figures about answers. Pure.
import type { FinishReason, Usage } from './api-types.ts';

/** Null for an answer that ended by itself, which needs no words. */
export function finishWords(
  reason: FinishReason | null,
  errorMessage: string | null,
): string | null {
  switch (reason) {
    case 'cancelled':
      return 'Stopped. What was written until then is kept.';
    case 'length':
      return 'The answer reached its length limit and is cut off here.';
    case 'content_filter':
      return 'This answer was withheld by the content policy.';
    case 'error':
      return `Something went wrong${errorMessage === null ? '' : `: ${errorMessage}`}${/[.!?]$/.test(errorMessage ?? '') ? '' : '.'} You can try again.`;
    case 'stop':
    case null:
      return null;
  }
}

/** `812 ms`, `2.4 s`. */
export function durationWords(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** `$0.0042`: small sums keep two telling digits; none is `$0`. */
export function costWords(usd: number): string {
  if (usd === 0) return '$0';
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
  const { prompt_tokens, completion_tokens, cached_tokens } = usage;
  return {
    short: `${number.format(completion_tokens)} ${completion_tokens === 1 ? 'token' : 'tokens'}`,
    long: `Prompt ${number.format(prompt_tokens)} tokens (${number.format(cached_tokens)} cached), answer ${number.format(completion_tokens)} tokens, ${costWords(usage.cost_usd)}`,
  };
}

/** `12 s`, `1 min 5 s`; never less than a second, so that a countdown ends with the try. */
export function countdownWords(ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
