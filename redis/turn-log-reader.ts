// The reading end of the turn log on Redis: the log by range, and pushes over the process's one subscriber connection.
import { turnControlChannel, turnLogKey, turnPushChannel } from '../contracts/redis-keys.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import type { TurnControl, TurnLogReader, TurnSubscription } from '../contracts/turn-log.ts';
import { AppError } from '../contracts/errors.ts';
import type { ChannelHub, ChannelListener } from './channel-hub.ts';
import type { Redis } from './connection.ts';
import { decodePush, decodeRow } from './log-codec.ts';

export class RedisTurnLogReader implements TurnLogReader, TurnControl {
  readonly #redis: Redis;
  readonly #hub: ChannelHub;

  constructor(redis: Redis, hub: ChannelHub) {
    this.#redis = redis;
    this.#hub = hub;
  }

  async read(turnId: TurnId, after: number): Promise<readonly NumberedEntry[] | 'missing'> {
    try {
      const rows = await this.#redis.xrange(turnLogKey(turnId), `(${after}-0`, '+');
      if (rows.length > 0) return rows.map(decodeRow);
      return (await this.#redis.exists(turnLogKey(turnId))) === 1 ? [] : 'missing';
    } catch (error) {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    }
  }

  async subscribe(
    turnId: TurnId,
    onEntry: (entry: NumberedEntry) => void,
  ): Promise<TurnSubscription> {
    let last = 0;
    const deliver = (entry: NumberedEntry): void => {
      last = Math.max(last, entry.n);
      onEntry(entry);
    };
    return this.#listen(turnPushChannel(turnId), {
      onMessage: (message) => deliver(decodePush(message)),
      onGap: () => {
        // Failing here leaves the gap to the next push or the next 'ready'.
        void this.read(turnId, last).then(
          (entries) => entries === 'missing' || entries.forEach(deliver),
          () => undefined,
        );
      },
    });
  }

  async countReaders(turnId: TurnId): Promise<number> {
    try {
      const reply = (await this.#redis.call('PUBSUB', 'SHARDNUMSUB', turnPushChannel(turnId))) as [
        string,
        number,
      ];
      return Number(reply[1]);
    } catch (error) {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    }
  }

  onCancel(turnId: TurnId, callback: () => void): Promise<TurnSubscription> {
    return this.#listen(turnControlChannel(turnId), {
      onMessage: callback,
      onGap: () => undefined,
    });
  }

  async #listen(channel: string, listener: ChannelListener): Promise<TurnSubscription> {
    await this.#hub.add(channel, listener);
    return { close: () => this.#hub.remove(channel, listener) };
  }
}
