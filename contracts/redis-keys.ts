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

/**
 * The hot cache is in 16 parts, each with its own books in its own slot: a conversation's part is its id's last digit.
 * Hash of the cached turns of a conversation: version, newest turns by number, lease of its loader; or that it is gone.
 */
export const cachedTurnsKey = (id: ConversationId): string => `${cachePart(id)}:${id}`;
/** What cachedTurnsKey() begins with, up to the id. */
export const cachedTurnsPrefix = (id: ConversationId): string => `${cachePart(id)}:`;
/** Sorted sets id → score of a part's new entries, of its proven ones and of ids that are only remembered; hash of sizes. */
export const cacheBookKeys = (id: ConversationId): [string, string, string, string] => [
  `${cachePart(id)}:new`,
  `${cachePart(id)}:proven`,
  `${cachePart(id)}:seen`,
  `${cachePart(id)}:sizes`,
];
const cachePart = (id: ConversationId): string => `conv:{${id.slice(-1).toLowerCase()}}`;
export const NUM_CACHE_PARTS = 16;

/** Cached turns live this long after they were last read or written. */
export const CACHED_TURNS_TTL_MS = 24 * 60 * 60_000;
/** Who loads a conversation into the cache has this long before another one may: a page takes a few milliseconds. */
export const CACHE_LEASE_MS = 1000;
/** Much longer than a read of the store can take that began before the conversation was deleted. */
export const CACHE_TOMBSTONE_MS = 60 * 60_000;

/**
 * Hash: born (ms of Redis's clock), timeline and lsn of the newest write of any of the owners that share it. One key holds
 * both, so that a key which was flushed or evicted cannot be taken for "nothing was written".
 * @param database name of the database whose log is meant
 */
export const writeMarkKey = (database: string, userId: UserId): string =>
  `store:{${database}:${writeMarkBucket(userId)}}:mark`;
/** Kept far longer than any lag that is tolerated, so that the marks of idle owners need not be made anew; renewed under half. */
export const WRITE_MARK_TTL_MS = 60 * 60_000;
/**
 * Owners share marks: their number is bounded, and a neighbour's write costs at most a read on the primary. FNV-1a: any
 * spread does.
 */
const NUM_WRITE_MARKS = 4096;

function writeMarkBucket(userId: UserId): number {
  let hash = 0x811c9dc5;
  for (const char of userId) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  return hash % NUM_WRITE_MARKS;
}

/** What Redis may hold of a user: goes with them. */
export const userKeys = (userId: UserId): string[] => [
  limitBucketKey(userId),
  limitReservationsKey(userId),
];
