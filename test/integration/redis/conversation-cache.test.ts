// The hot cache under what may happen to Redis: full, hung, gone, emptied, evicting; and within its own budget. The storms of
// bench/store in short.
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { bytesFor, hitRates, SOME_TURN } from '../../../bench/store/cache-run.ts';
import { newOwner } from '../../../bench/store/owner.ts';
import { runStorm } from '../../../bench/store/storm-run.ts';
import { createRecentTurns } from '../../../activities/recent-turns.ts';
import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { ConversationId } from '../../../contracts/ids.ts';
import { cachedTurnsKey } from '../../../contracts/redis-keys.ts';
import { createPool } from '../../../postgres/pool.ts';
import { createMetrics } from '../../../process/metrics.ts';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { RedisConversationCache } from '../../../redis/conversation-cache.ts';
import { BranchModel } from '../../helpers/branch-model.ts';
import { BranchStore } from '../../helpers/branch-store.ts';
import { createTestDatabase } from '../../helpers/database.ts';
import { services } from '../../helpers/services.ts';

const connected: Redis[] = [];

function connect(url = services().redisUrl): Redis {
  const scriptsFolder = projectPath('redis', 'lua');
  const redis = connectRedis({ url, scriptsFolder, onError: () => undefined });
  connected.push(redis);
  return redis;
}

const roomy = { bytes: 64 * 1024 * 1024, turns: 64, answerMs: 5000 };
const entry = { version: 1, turns: [SOME_TURN], isComplete: true };

async function put(cache: RedisConversationCache, id: ConversationId): Promise<void> {
  const read = await cache.get(id, 1);
  if (read.kind === 'hit' || read.lease === null) throw new Error('it is there already');
  await cache.put(id, read.lease, entry);
}

/** In the same part of the cache as all others with this digit. */
const idEndingIn = (digit: string): ConversationId =>
  `${newConversationId().slice(0, -1)}${digit}` as ConversationId;

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let db: ReturnType<typeof createPool>;
beforeAll(async () => {
  database = await createTestDatabase();
  db = createPool({ url: database.url, poolSize: 8 }, () => undefined);
}, 60_000);
afterAll(async () => {
  for (const redis of connected) redis.disconnect();
  await db.end();
  await database.drop();
});
beforeEach(async () => {
  const redis = connect();
  for (const key of await redis.keys('conv:*')) await redis.del(key);
});

/** A conversation of one turn in the store, and how to read it through a cache. */
async function stored(cache: RedisConversationCache) {
  const store = await BranchStore.create(db, await newOwner(db));
  const plan = new BranchModel().plan({
    do: 'plan',
    tab: 0,
    kind: 'continue',
    pick: 0,
    numSamples: 1,
  });
  if (plan === null) throw new Error('no plan');
  await store.accept(plan);
  await store.open(plan.turnId);
  await store.end(plan.turnId, 1);
  const metrics = createMetrics();
  const recentTurns = createRecentTurns({ cache, metrics, cachedTurns: 64 });
  const asked = {
    conversationId: store.id,
    version: 2,
    lastTurnId: plan.turnId,
    upTo: null,
    limit: 10,
  };
  const read = async (): Promise<string[]> =>
    (await recentTurns(db, asked)).turns.map(({ turnId }) => turnId);
  const outcomes = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      (await metrics.conversationCache.get()).values.map((each) => [
        String(each.labels.outcome),
        each.value,
      ]),
    );
  return { read, outcomes, turnIds: [plan.userTurnId, plan.turnId], id: store.id };
}

it('leaves no key that never expires, whatever came in whichever order', async () => {
  const redis = connect();
  const cache = new RedisConversationCache(redis, { ...roomy, bytes: 16 * 4 * 2048 });
  for (let count = 0; count < 8; count += 1) {
    const id = idEndingIn('0');
    await put(cache, id);
    await cache.append(id, 2, [SOME_TURN]);
    for (let uses = 0; uses < count; uses += 1) await cache.get(id, 2);
    if (count === 5) await cache.remove(id);
    const keys = await redis.keys('conv:*');
    const forEver: string[] = [];
    for (const key of keys) if ((await redis.pttl(key)) === -1) forEver.push(key);
    expect({ count, forEver }).toEqual({ count, forEver: [] });
  }
});

it('answers from the store, within a bounded time and soon at once, when Redis hangs', async () => {
  const sockets: Socket[] = [];
  const silent: Server = createServer((socket) => void sockets.push(socket));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const cache = new RedisConversationCache(connect(`redis://127.0.0.1:${port}`), {
    ...roomy,
    answerMs: 100,
  });
  const { read, outcomes, turnIds } = await stored(cache);
  const startedAt = performance.now();
  expect(await read()).toEqual(turnIds);
  expect(performance.now() - startedAt).toBeLessThan(1000);
  // The first read has waited; the second knows.
  await expect(cache.get(newConversationId(), 1)).rejects.toMatchObject({
    code: 'STREAM_UNAVAILABLE',
  });
  const againAt = performance.now();
  expect(await read()).toEqual(turnIds);
  expect(performance.now() - againAt).toBeLessThan(90);
  expect(await outcomes()).toMatchObject({ error: 2 });
  for (const socket of sockets) socket.destroy();
  silent.close();
});

it('answers from the store when Redis is full, and from what it has, and takes nothing more', async () => {
  const redis = connect();
  const cache = new RedisConversationCache(redis, roomy);
  const [kept, refused] = [await stored(cache), await stored(cache)];
  expect(await kept.read()).toEqual(kept.turnIds);
  await expectHit(cache, kept.id, 2);
  const [, before] = (await redis.config('GET', 'maxmemory')) as string[];
  await redis.config('SET', 'maxmemory', '1');
  try {
    await expectHit(cache, kept.id, 2);
    expect(await refused.read()).toEqual(refused.turnIds);
    expect(await cache.get(refused.id, 2)).toEqual({ kind: 'miss', lease: null });
    await expect(cache.append(kept.id, 3, [SOME_TURN])).rejects.toMatchObject({
      code: 'STREAM_UNAVAILABLE',
    });
    await expectHit(cache, kept.id, 2);
    // What is deleted goes, full or not.
    await cache.remove(kept.id);
    expect(await redis.hexists(cachedTurnsKey(kept.id), 'version')).toBe(0);
  } finally {
    await redis.config('SET', 'maxmemory', before ?? '0');
  }
});

async function expectHit(cache: RedisConversationCache, id: ConversationId, version: number) {
  for (let look = 0; look < 100; look += 1)
    if ((await cache.get(id, version)).kind === 'hit') return;
  throw new Error('it is not cached');
}

it('waits a moment for what another reader loads, and reads the store itself when that never comes', async () => {
  const cache = new RedisConversationCache(connect(), roomy);
  const [comes, lost] = [await stored(cache), await stored(cache)];
  const lease = await cache.get(comes.id, 2);
  const waiting = comes.read();
  const turns = [SOME_TURN];
  if (lease.kind !== 'hit')
    await cache.put(comes.id, lease.lease ?? '', { ...entry, version: 2, turns });
  expect(await waiting).toEqual([SOME_TURN.turnId]);
  await cache.get(lost.id, 2);
  expect(await lost.read()).toEqual(lost.turnIds);
});

it('reads the store again when Redis was emptied, or has evicted an entry and not its books', async () => {
  const redis = connect();
  const cache = new RedisConversationCache(redis, roomy);
  const { read, turnIds, id } = await stored(cache);
  expect(await read()).toEqual(turnIds);
  await expectHit(cache, id, 2);
  await redis.del(cachedTurnsKey(id));
  expect(await read()).toEqual(turnIds);
  await expectHit(cache, id, 2);
  for (const key of await redis.keys('conv:*')) await redis.del(key);
  expect(await read()).toEqual(turnIds);
  await expectHit(cache, id, 2);
});

it('keeps within its budget, and lets go of what is used least', async () => {
  const redis = connect();
  // Sixteen parts of twenty entries, of which two are for new ones.
  const cache = new RedisConversationCache(redis, { ...roomy, bytes: bytesFor(16 * 20) });
  const [favourite, ...rest] = Array.from({ length: 120 }, () => idEndingIn('a'));
  if (favourite === undefined) throw new Error('no id');
  await put(cache, favourite);
  for (const id of rest) {
    await cache.get(favourite, 1);
    await put(cache, id);
  }
  expect((await cache.get(favourite, 1)).kind).toBe('hit');
  const keys = await redis.keys('conv:{a}:*-*');
  expect(keys.length).toBeGreaterThan(15);
  expect(keys.length).toBeLessThanOrEqual(20);
  const [sumNew, sumProven] = await redis.hmget('conv:{a}:sizes', 'new', 'proven');
  const counted = Number(sumNew) + Number(sumProven);
  expect(counted).toBe(bytesFor(1) * keys.length);
  for (const key of keys) await cache.remove(key.slice(-36) as ConversationId);
  expect(await redis.hmget('conv:{a}:sizes', 'new', 'proven')).toEqual(['0', '0']);
});

it('caches fewer turns of a conversation whose turns are large, and none that is larger than an entry', async () => {
  const cache = new RedisConversationCache(connect(), roomy);
  const large = (size: number) => ({
    ...SOME_TURN,
    turnId: newTurnId(),
    content: 'x'.repeat(size),
  });
  const id = newConversationId();
  const turns = [large(150_000), large(150_000), large(60_000)];
  const read = await cache.get(id, 1);
  if (read.kind === 'hit') throw new Error('it is there already');
  await cache.put(id, read.lease ?? '', { version: 1, turns, isComplete: true });
  const kept = { version: 1, turns: turns.slice(1), isComplete: false };
  expect(await cache.get(id, 1)).toEqual({ kind: 'hit', entry: kept });
  await cache.append(id, 2, [large(400_000)]);
  const none = { version: 2, turns: [], isComplete: false };
  expect(await cache.get(id, 2)).toEqual({ kind: 'hit', entry: none });
});

it('answers nine tenths of what the best cache of a tenth of the conversations could, by Zipf’s law', async () => {
  const redis = connect();
  const make = (bytes: number) => new RedisConversationCache(redis, { ...roomy, bytes });
  const size = { conversations: 4000, cached: 400, reads: 40_000, seed: 3 };
  const { shareOfBest, ours, lru } = await hitRates(make, size);
  expect(shareOfBest).toBeGreaterThan(0.88);
  expect(ours).toBeGreaterThan(lru);
}, 60_000);

it.each([
  ['more conversations than it holds are read', 0],
  ['Redis is emptied over and over', 10],
])(
  'never answers wrongly while %s, written and deleted',
  async (_what, flushEvery) => {
    const connections = [connect(), connect(), connect()];
    const result = await runStorm(db, await newOwner(db), {
      // A part of it holds thirty, three of them new: fewer would not live until those who wait have them.
      conversations: 800,
      cached: 480,
      readers: 6,
      width: 4,
      writes: 100,
      deletes: 8,
      seed: 5,
      flushEvery: 0,
      connections,
      ...(flushEvery === 0 ? {} : { flushEvery }),
    });
    expect(result).toMatchObject({ wrongReads: 0, deleted: 8 });
    expect(result.reads).toBeGreaterThan(2000);
    if (flushEvery > 0) return;
    expect(result.loadsPerConversation).toBeLessThan(1.2);
    expect(result.remains).toBe(0);
  },
  60_000,
);
