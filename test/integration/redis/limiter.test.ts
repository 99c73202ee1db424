import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { newTurnId } from '../../../contracts/ids.ts';
import type { UserId } from '../../../contracts/ids.ts';
import { limitBucketKey, limitReservationsKey } from '../../../contracts/redis-keys.ts';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { RedisLimiter } from '../../../redis/limiter.ts';
import { randomNumbers } from '../../../bench/random-numbers.ts';
import { services } from '../../helpers/services.ts';

let redis: Redis;
let limiter: RedisLimiter;

const newUser = (): UserId => randomUUID() as UserId;
/** Of the test with two gateways; 100 for the bar. */
const NUM_SEEDS = Number(process.env['COLLOQUY_LIMITER_SEEDS'] ?? 10);
const LIMITS = { requestsPerMinute: 10, tokensPerMinute: 1000 };

/** Turns the user's clock back, as if the bucket had been written that much earlier. */
async function elapse(user: UserId, ms: number): Promise<void> {
  await redis.hincrby(limitBucketKey(user), 'at', -ms);
}

describe.each([
  ['one node', () => services().redisUrl],
  ['a cluster', () => services().redisClusterUrl],
])('RedisLimiter on %s', (_name, url) => {
  beforeAll(() => {
    redis = connectRedis({
      url: url(),
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    limiter = new RedisLimiter(redis);
  });
  afterAll(() => redis.disconnect());

  it('takes one request and the tokens, and says what is left', async () => {
    const user = newUser();
    const { isGranted, state } = await limiter.reserve(user, newTurnId(), 400, LIMITS);
    expect(isGranted).toBe(true);
    expect(state).toEqual({
      requests: { limit: 10, remaining: 9, resetSeconds: 6 },
      tokens: { limit: 1000, remaining: 600, resetSeconds: 24 },
    });
  });

  it('takes nothing at all when either bucket is short, and says when to come back', async () => {
    const user = newUser();
    await limiter.reserve(user, newTurnId(), 900, LIMITS);
    const refused = await limiter.reserve(user, newTurnId(), 200, LIMITS);
    expect(refused).toMatchObject({
      isGranted: false,
      retryAfterSeconds: 6,
      state: { requests: { remaining: 9 }, tokens: { remaining: 100 } },
    });
    await elapse(user, 6100);
    expect((await limiter.reserve(user, newTurnId(), 200, LIMITS)).isGranted).toBe(true);
  });

  it('counts a turn once however often it is reserved', async () => {
    const [user, turn] = [newUser(), newTurnId()];
    await limiter.reserve(user, turn, 300, LIMITS);
    await limiter.reserve(user, turn, 300, LIMITS);
    expect((await limiter.peek(user, LIMITS)).requests.remaining).toBe(9);
  });

  it('gives back what was not used, once', async () => {
    const [user, turn] = [newUser(), newTurnId()];
    await limiter.reserve(user, turn, 900, LIMITS);
    await limiter.settle(user, turn, 100, LIMITS);
    await limiter.settle(user, turn, 100, LIMITS);
    expect((await limiter.peek(user, LIMITS)).tokens.remaining).toBeGreaterThanOrEqual(900);
    expect((await limiter.peek(user, LIMITS)).tokens.remaining).toBeLessThan(910);
  });

  it('gives back a reservation that nobody settled once its lease is over', async () => {
    const [user, turn] = [newUser(), newTurnId()];
    await limiter.reserve(user, turn, 1000, LIMITS);
    await redis.hset(limitReservationsKey(user), turn, '1000:1');
    expect((await limiter.reserve(user, newTurnId(), 900, LIMITS)).isGranted).toBe(true);
  });

  it('admits a turn larger than the whole bucket when the bucket is full', async () => {
    expect((await limiter.reserve(newUser(), newTurnId(), 5000, LIMITS)).isGranted).toBe(true);
  });

  it('never admits more than a bucket holds to parallel requests', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 5, maxLength: 40 }),
        async (wishes) => {
          const user = newUser();
          const granted = await Promise.all(
            wishes.map((tokens) => limiter.reserve(user, newTurnId(), tokens, LIMITS)),
          );
          const taken = wishes.filter((_, index) => granted[index]?.isGranted);
          expect(taken.length).toBeLessThanOrEqual(10);
          // The bucket refills by 17 tokens a second while the requests are under way.
          expect(taken.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(1000 + 40);
        },
      ),
      { numRuns: 25 },
    );
  });

  it(`admits to 200 requests at once, over two gateways, what the buckets hold and no more, ${NUM_SEEDS} times`, async () => {
    const limits = { requestsPerMinute: 50, tokensPerMinute: 10_000 };
    const other = connectRedis({
      url: url(),
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    const another = new RedisLimiter(other);
    try {
      for (let seed = 1; seed <= NUM_SEEDS; seed += 1) {
        const user = newUser();
        const random = randomNumbers(seed);
        const wishes = Array.from({ length: 200 }, () => 1 + Math.floor(random() * 2 * seed * 5));
        const since = performance.now();
        const answers = await Promise.all(
          wishes.map((tokens, index) =>
            (index % 2 === 0 ? limiter : another).reserve(user, newTurnId(), tokens, limits),
          ),
        );
        // While they are under way the buckets go on being filled.
        const filled = (performance.now() - since) / 60_000;
        const taken = wishes.filter((_, index) => answers[index]?.isGranted);
        const tokens = taken.reduce((sum, each) => sum + each, 0);
        expect(taken.length).toBeLessThanOrEqual(50 * (1 + filled));
        expect(tokens).toBeLessThanOrEqual(10_000 * (1 + filled));
        // Nobody was refused who fitted: of the requests at most one is left, or the least that was refused had not fitted.
        const refused = wishes.filter((_, index) => answers[index]?.isGranted === false);
        const left = { requests: 50 - taken.length, tokens: 10_000 - tokens };
        const isFull = left.requests < 1 || refused.every((each) => each > left.tokens);
        expect({ seed, left, isFull }).toEqual({ seed, left, isFull: true });
      }
    } finally {
      other.disconnect();
    }
  }, 60_000);
});
