// Every Redis key, channel and time to live. Keys of one turn share the hash tag {turn id}, so one script may touch
// them all and a cluster keeps them in one slot. Design §4.
import type { ConversationId, TurnId, UserId } from './ids.ts';

/** Stream of the turn's entries, ids `<n>-0`. */
export const turnLogKey = (turnId: TurnId): string => `turn:{${turnId}}:log`;
/** Hash: epoch, status (running | ended), owner, conversation, pool, cancel. */
export const turnMetaKey = (turnId: TurnId): string => `turn:{${turnId}}:meta`;
/** Sharded channel on which each appended entry is pushed, the same bytes as in the log. */
export const turnPushChannel = (turnId: TurnId): string => `turn:{${turnId}}:push`;
/** Sharded channel to the worker that generates the turn. */
export const turnControlChannel = (turnId: TurnId): string => `turn:{${turnId}}:control`;
/** Newest turns of a conversation. */
const conversationCacheKey = (conversationId: ConversationId): string => `conv:{${conversationId}}`;
/** Hash of a user's request and token buckets, and of open reservations by turn id. */
export const limitBucketKey = (userId: UserId): string => `limit:{${userId}}:bucket`;
export const limitReservationsKey = (userId: UserId): string => `limit:{${userId}}:reservations`;
/** Hash worker → load of one pool, for shedding. */
export const poolPressureKey = (pool: string): string => `pool:{${pool}}:pressure`;

/** A running turn's log outlives any generation (10 min) with room for failover; renewed on each append under half. */
export const RUNNING_LOG_TTL_MS = 30 * 60_000;
/** A finished turn's log: long enough for a reader whose network was away; after it Postgres answers. */
export const ENDED_LOG_TTL_MS = 10 * 60_000;
/** A reservation nobody settled (its gateway and workflow died) comes back after this. */
export const RESERVATION_TTL_MS = 20 * 60_000;
/** Pressure older than this says nothing: its worker is gone. Published every 500 ms. */
export const PRESSURE_TTL_MS = 2_000;

/** One slot for all processes: sorted set worker → when its lease expires (Redis's clock), … */
export const LEASES_KEY = 'processes:{leases}:expiry';
/** … hash `<worker> <n>` → an activity that it runs, … */
export const LEASED_TASKS_KEY = 'processes:{leases}:tasks';
/** … and when anybody last renewed: time in which Redis served nobody counts against nobody. */
export const LAST_BEAT_KEY = 'processes:{leases}:beat';
/** Leases are renewed and watched this often … */
export const BEAT_MS = 150;
/** … and run out after this long: room for three renewals that come late. */
export const LEASE_MS = 700;
/** Longer than this without a beat of anybody is Redis's own standstill. */
export const MAX_SILENCE_MS = 350;

/** What Redis may hold of a conversation beside its turns' logs: goes with it. */
export const conversationKeys = (conversationId: ConversationId): string[] => [
  conversationCacheKey(conversationId),
];
/** What Redis may hold of a user: goes with them. */
export const userKeys = (userId: UserId): string[] => [
  limitBucketKey(userId),
  limitReservationsKey(userId),
];
