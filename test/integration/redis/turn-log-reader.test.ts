import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { UserId } from '../../../contracts/ids.ts';
import { projectPath } from '../../../process/paths.ts';
import { ChannelHub } from '../../../redis/channel-hub.ts';
import { connectRedis, connectSubscriber } from '../../../redis/connection.ts';
import { RedisTurnLogReader } from '../../../redis/turn-log-reader.ts';
import { RedisTurnLogWriter } from '../../../redis/turn-log-writer.ts';
import { services } from '../../helpers/services.ts';

describe('RedisTurnLogReader', () => {
  it('re-subscribes after a lost connection and brings what was appended meanwhile', async () => {
    const redis = connectRedis({
      url: services().redisUrl,
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

    const lost = new Promise<void>((done) => subscriber.once('close', done));
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await lost;
    await writer.append(turnId, 1001, [{ n: 3, type: 'token', data: { text: 'b', ids: [2] } }]);
    await writer.append(turnId, 1001, [{ n: 4, type: 'token', data: { text: 'c', ids: [3] } }]);
    await fourth;

    expect(new Set(seen)).toEqual(new Set([1, 2, 3, 4]));
    await subscription.close();
    hub.close();
    redis.disconnect();
  });
});
