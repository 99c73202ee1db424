import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { TurnId, UserId } from '../../../contracts/ids.ts';
import { turnMetaKey } from '../../../contracts/redis-keys.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { projectPath } from '../../../process/paths.ts';
import { ChannelHub } from '../../../redis/channel-hub.ts';
import { connectRedis, connectSubscriber, isCluster } from '../../../redis/connection.ts';
import type { Redis } from '../../../redis/connection.ts';
import { RedisTurnLogReader } from '../../../redis/turn-log-reader.ts';
import { RedisTurnLogWriter } from '../../../redis/turn-log-writer.ts';
import { services } from '../../helpers/services.ts';
import { waitFor } from '../../helpers/wait-for.ts';

describe.each([
  ['one node', () => services().redisUrl],
  ['a cluster', () => services().redisClusterUrl],
])('RedisTurnLogReader on %s', (_name, url) => {
  it('re-subscribes after a lost connection and brings what was appended meanwhile', async () => {
    const redis = connectRedis({
      url: url(),
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    const subscriber = connectSubscriber(redis, () => undefined);
    const hub = new ChannelHub(subscriber);
    const [writer, reader] = [new RedisTurnLogWriter(redis), new RedisTurnLogReader(redis, hub)];
    const turnId = newTurnId();
    const seen: number[] = [];
    let resolve: () => void = () => undefined;
    const fourth = new Promise<void>((done) => (resolve = done));
    const subscription = await reader.subscribe(turnId, ({ n }) => {
      seen.push(n);
      if (n === 4) resolve();
    });
    const open = {
      turn_id: turnId,
      user_turn_id: 'u',
      conversation_id: 'c',
      model: 'm',
      served_model: 's',
      pool: 'mini',
    };
    await writer.create(open, { userId: 'u' as UserId, conversationId: newConversationId() });
    await writer.append(turnId, 1001, [{ n: 2, type: 'token', data: { text: 'a', ids: [1] } }]);

    const nodes = isCluster(redis) ? redis.nodes('master') : [redis];
    const lost = new Promise<void>((done) =>
      subscriber.once(isCluster(subscriber) ? '-node' : 'close', () => done()),
    );
    for (const node of nodes) await node.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await lost;
    await writer.append(turnId, 1001, [{ n: 3, type: 'token', data: { text: 'b', ids: [2] } }]);
    await writer.append(turnId, 1001, [{ n: 4, type: 'token', data: { text: 'c', ids: [3] } }]);
    await fourth;

    expect(new Set(seen)).toEqual(new Set([1, 2, 3, 4]));
    await subscription.close();
    hub.close();
    redis.disconnect();
  });

  it('hears of a cancel that was asked for while its connection was lost', async () => {
    const redis = connectRedis({
      url: url(),
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    const subscriber = connectSubscriber(redis, () => undefined);
    const hub = new ChannelHub(subscriber);
    const [writer, reader] = [new RedisTurnLogWriter(redis), new RedisTurnLogReader(redis, hub)];
    const turnId = newTurnId();
    const open = { turn_id: turnId, user_turn_id: 'u', conversation_id: 'c' };
    const facts = { model: 'm', served_model: 's', pool: 'mini' };
    const owner = { userId: 'u' as UserId, conversationId: newConversationId() };
    await writer.create({ ...open, ...facts }, owner);
    let hear: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => (hear = resolve));
    const control = await reader.onCancel(turnId, () => hear());
    // Marked without a push, as if the push had gone to a connection that was lost.
    await redis.hset(turnMetaKey(turnId), 'cancel', 1);
    const nodes = isCluster(redis) ? redis.nodes('master') : [redis];
    for (const node of nodes) await node.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await heard;
    await control.close();
    hub.close();
    redis.disconnect();
  });
});

describe('RedisTurnLogReader with many turns', () => {
  it('has one connection for all turns, and after its loss every turn goes on without a gap', async () => {
    const redis = connectRedis({
      url: services().redisUrl,
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    const subscriber = connectSubscriber(redis, () => undefined);
    const hub = new ChannelHub(subscriber);
    const [writer, reader] = [new RedisTurnLogWriter(redis), new RedisTurnLogReader(redis, hub)];
    const countPubSub = async (): Promise<number> =>
      String(await redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub'))
        .trim()
        .split('\n').length;
    const seen = new Map<TurnId, Set<number>>();
    const turnIds = Array.from({ length: 60 }, () => newTurnId());
    const subscriptions = [];
    for (const turnId of turnIds) {
      const numbers = new Set<number>();
      seen.set(turnId, numbers);
      subscriptions.push(await reader.subscribe(turnId, ({ n }) => numbers.add(n)));
    }
    const numConnections = await countPubSub();
    const token = (n: number): NumberedEntry => ({
      n,
      type: 'token',
      data: { text: `${n}`, ids: [n] },
    });
    const appendAll = (n: number): Promise<unknown> =>
      Promise.all(turnIds.map((turnId) => writer.append(turnId, 1001, [token(n)])));
    for (const turnId of turnIds)
      await writer.create(
        {
          turn_id: turnId,
          user_turn_id: 'u',
          conversation_id: 'c',
          model: 'm',
          served_model: 's',
          pool: 'mini',
        },
        { userId: 'u' as UserId, conversationId: newConversationId() },
      );
    await appendAll(2);

    const lost = new Promise<void>((done) => subscriber.once('close', done));
    await redis.call('CLIENT', 'KILL', 'ID', String(await subscriberId(redis)));
    await lost;
    await appendAll(3);
    await appendAll(4);
    await waitFor('every reader has every entry', () =>
      [...seen.values()].every((numbers) => numbers.size === 4),
    );

    expect(await countPubSub()).toBe(numConnections);
    for (const each of subscriptions) await each.close();
    hub.close();
    redis.disconnect();
  });
});

/** The connection that listens to a turn: the only one with so many channels. */
async function subscriberId(redis: Redis): Promise<number> {
  const list = String(await redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub'));
  const line = list.split('\n').find((each) => each.includes(' ssub=60 '));
  return Number(/^id=(\d+)/.exec(line ?? '')?.[1] ?? NaN);
}
