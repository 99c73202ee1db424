// Small words that appear in histories, rows, events and metrics alike. Pure types and frozen lists, safe in a workflow.

export const TIERS = Object.freeze(['free', 'paid', 'enterprise'] as const);
export type Tier = (typeof TIERS)[number];

export const ROLES = Object.freeze(['member', 'admin'] as const);
export type Role = (typeof ROLES)[number];

export const FINISH_REASONS = Object.freeze([
  'stop',
  'length',
  'cancelled',
  'content_filter',
  'error',
] as const);
export type FinishReason = (typeof FINISH_REASONS)[number];

/** What a turn consumed. `cachedTokens` are included in `promptTokens`. */
export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

export const ZERO_USAGE: TokenUsage = Object.freeze({
  promptTokens: 0,
  completionTokens: 0,
  cachedTokens: 0,
});

/** A moderation decision. `category` names the rule that fired, never the text. */
export interface ModerationVerdict {
  readonly action: 'allow' | 'block';
  readonly category: string | null;
  readonly policyVersion: string;
}
