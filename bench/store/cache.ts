// The hot cache: how many reads it answers, and what an answer costs from it, past it, and through it from the store.
import { createRecentTurns } from '../../activities/recent-turns.ts';
import type { ConversationId } from '../../contracts/ids.ts';
import { findConversation } from '../../postgres/conversations.ts';
import type { StoredConversation } from '../../postgres/conversations.ts';
import { historyPage } from '../../postgres/history.ts';
import { rows } from '../../postgres/pool.ts';
import { createMetrics } from '../../process/metrics.ts';
import { RedisConversationCache } from '../../redis/conversation-cache.ts';
import type { Report } from '../engine/report.ts';
import { summary } from '../statistics.ts';
import { hitRates } from './cache-run.ts';
import { loadTurns } from './generated-turns.ts';
import type { LoadSize } from './generated-turns.ts';
import type { Stage } from './stage.ts';

export interface CacheOptions extends LoadSize {
  /** Reads of the trace by Zipf's law. */
  readonly reads: number;
  /** Conversations whose page is timed. */
  readonly timed: number;
}

const LIMIT = 50;
const TURNS = 64;

export async function runCache(stage: Stage, report: Report, options: CacheOptions): Promise<void> {
  const redis = stage.connect();
  await redis.flushall();
  const { conversations, reads, seed } = options;
  const cached = Math.round(conversations / 10);
  const make = (bytes: number): RedisConversationCache =>
    new RedisConversationCache(redis, { bytes, turns: TURNS, answerMs: 5000 });
  const rates = await hitRates(make, { conversations, cached, reads, seed });
  report.line({ measure: 'hit-rate', conversations, cached, ...rates });
  await redis.flushall();
  const { userId } = await loadTurns(stage.db, options);
  const ids = await rows<{ id: ConversationId }>(
    stage.db,
    `select conversation_id as id from conversations where user_id = $1
     order by md5(conversation_id::text) limit $2`,
    [userId, options.timed],
  );
  const metrics = createMetrics();
  const cache = make(1024 * 1024 * 1024);
  const recentTurns = createRecentTurns({ cache, metrics, cachedTurns: TURNS });
  const times: Record<'store' | 'miss' | 'hit', number[]> = { store: [], miss: [], hit: [] };
  const timed = async (kind: keyof typeof times, work: Promise<unknown>): Promise<void> => {
    const startedAt = performance.now();
    await work;
    times[kind].push(performance.now() - startedAt);
  };
  for (const { id } of ids) {
    const found = await findConversation(stage.db, userId, id);
    if (found === null) continue;
    const { version, lastTurnId }: StoredConversation = found;
    const asked = { conversationId: id, version, lastTurnId, upTo: null, limit: LIMIT };
    const page = (): Promise<unknown> => historyPage(stage.db, id, lastTurnId, null, LIMIT);
    // Its blocks are in memory from here on: the three differ by the cache alone.
    await page();
    await timed('store', page());
    await timed('miss', recentTurns(stage.db, asked));
    const isKept = async (): Promise<boolean> => (await cache.get(id, version)).kind === 'hit';
    for (let look = 0; look < 50 && !(await isKept()); look += 1);
    await timed('hit', recentTurns(stage.db, asked));
  }
  const outcomes = (await metrics.conversationCache.get()).values;
  const found = Object.entries(times).map(([kind, ms]) => ({ kind, ...summary(ms) }));
  for (const each of found) report.line({ measure: 'read', reads: ids.length, ...each });
  const p99 = (kind: string): number => found.find((each) => each.kind === kind)?.p99 ?? NaN;
  report.line({
    measure: 'added',
    missAgainstStoreP99: p99('miss') - p99('store'),
    missAgainstHitP99: p99('miss') - p99('hit'),
    outcomes: Object.fromEntries(outcomes.map(({ labels, value }) => [labels.outcome, value])),
  });
  report.table([
    ['read of the newest page', 'p50 ms', 'p99 ms', 'max ms'],
    ...found.map(({ kind, p50, p99: high, max }) => [kind, p50, high, max]),
  ]);
  report.table([
    ['hit rate', 'least recently used', 'ours', 'best possible', 'share of best'],
    [
      `${conversations} conversations, ${cached} kept`,
      ...[rates.lru, rates.ours, rates.best, rates.shareOfBest].map((each) => each.toFixed(3)),
    ],
  ]);
}
