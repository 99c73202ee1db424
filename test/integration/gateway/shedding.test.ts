// Load shedding on real services: who is refused when a pool has a long queue, and what it costs them.
import { Runtime } from '@temporalio/worker';
import { poolPressureKey } from '../../../contracts/redis-keys.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { publishPressure } from '../../../redis/pool-pressure.ts';
import { call, newConversation, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';

let harness: GatewayHarness;
let gateway: string;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  harness = await startGatewayHarness();
  gateway = await harness.startGateway();
  for (const pool of ['mini', 'default'])
    stops.push(await harness.turns.startPool(pool, fakeServedModel({ reply: 'Yes.' })));
}, 60_000);
afterEach(() => harness.turns.redis.del(poolPressureKey('mini'), poolPressureKey('default')));
afterAll(async () => {
  for (const stop of stops) await stop();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const callerOf = (tier: 'free' | 'paid'): Caller => ({ gateway, token: harness.tokens[tier] });

/** A worker of the pool says how many sequences wait in it. */
const say = (pool: string, worker: string, waiting: number): Promise<void> =>
  publishPressure(harness.turns.redis, pool, worker, {
    ...fakeServedModel({ reply: '' }).engine.stats(),
    waiting,
  });

async function ask(tier: 'free' | 'paid', model: string) {
  const caller = callerOf(tier);
  const id = await newConversation(caller);
  return call(caller, 'POST', `/v1/conversations/${id}/turns`, {
    role: 'user',
    content: 'Hello',
    model,
  });
}

describe('a pool whose every worker has a long queue', () => {
  it('refuses free turns with 503 and a time to come back, and takes nothing of their quota', async () => {
    await say('mini', 'one', 64);
    await say('mini', 'two', 200);
    const remaining = async (): Promise<string | null> =>
      (await call(callerOf('free'), 'GET', '/v1/models')).headers.get(
        'x-ratelimit-remaining-requests',
      );
    const before = await remaining();
    const refused = await ask('free', 'colloquy-mini');
    expect(refused.status).toBe(503);
    expect(refused.json).toMatchObject({ error: { code: 'overloaded' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(await remaining())).toBeGreaterThanOrEqual(Number(before));
  });

  it('still takes paid turns', async () => {
    await say('default', 'one', 500);
    const caller = callerOf('paid');
    const stream = await takeTurn(caller, await newConversation(caller), { content: 'Hello' });
    expect(stream.status).toBe(200);
    expect(await stream.until(({ event }) => event === 'done')).not.toBeNull();
  });

  it('takes free turns again as soon as one worker has room, or nobody speaks', async () => {
    for (const prepare of [() => say('mini', 'two', 3), async () => undefined]) {
      await harness.turns.redis.del(poolPressureKey('mini'));
      await prepare();
      const caller = callerOf('free');
      const stream = await takeTurn(caller, await newConversation(caller), {
        content: 'Hello',
        model: 'colloquy-mini',
      });
      expect(stream.status).toBe(200);
      await stream.ended;
    }
  });
});
