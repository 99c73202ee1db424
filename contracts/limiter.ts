// Request and token budgets of one user: reserved before any work, settled once by turn id on every exit.
import type { TurnId, UserId } from './ids.ts';

/** Bucket sizes; each refills evenly over a minute. */
export interface RateLimits {
  readonly requestsPerMinute: number;
  readonly tokensPerMinute: number;
}

export interface BucketState {
  readonly limit: number;
  readonly remaining: number;
  /** Seconds until the bucket is full again. */
  readonly resetSeconds: number;
}

export interface LimitState {
  readonly requests: BucketState;
  readonly tokens: BucketState;
}

export type Reservation =
  | { readonly isGranted: true; readonly state: LimitState }
  | { readonly isGranted: false; readonly state: LimitState; readonly retryAfterSeconds: number };

export interface Limiter {
  /** Takes one request and `tokens` tokens, or nothing at all. A repeat for the same turn takes nothing more. */
  reserve(userId: UserId, turnId: TurnId, tokens: number, limits: RateLimits): Promise<Reservation>;
  /** Gives back what the turn did not use; `usedTokens` may exceed the reservation. Once per turn, later calls do nothing. */
  settle(userId: UserId, turnId: TurnId, usedTokens: number, limits: RateLimits): Promise<void>;
  /** The state as it is now, nothing taken. */
  peek(userId: UserId, limits: RateLimits): Promise<LimitState>;
}
