// The reading end of the turn log on Redis: the log by range, and pushes over the process's one subscriber connection.
import {
  turnControlChannel,
  turnLogKey,
  turnMetaKey,
  turnPushChannel,
} from '../contracts/redis-keys.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import type { TurnControl, TurnLogReader, TurnSubscription } from '../contracts/turn-log.ts';
import { epochOf } from '../contracts/turn-log.ts';
import { AppError } from '../contracts/errors.ts';
import type { ChannelHub, ChannelListener } from './channel-hub.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';
import { decodePush, decodeRow } from './log-codec.ts';

/** Between tries to read what a lost connection swallowed. */
const HEAL_RETRY_MS = 250;

export class RedisTurnLogReader implements TurnLogReader, TurnControl {
  readonly #redis: Redis;
  readonly #hub: ChannelHub;

  constructor(redis: Redis, hub: ChannelHub) {
    this.#redis = redis;
    this.#hub = hub;
  }

  async read(
    turnId: TurnId,
    after: number,
    limit?: number,
  ): Promise<readonly NumberedEntry[] | 'missing'> {
    try {
      const [key, from] = [turnLogKey(turnId), `(${after}-0`];
      const rows =
        limit === undefined
          ? await this.#redis.xrange(key, from, '+')
          : await this.#redis.xrange(key, from, '+', 'COUNT', limit);
      if (rows.length > 0) return rows.map(decodeRow);
      return (await this.#redis.exists(turnLogKey(turnId))) === 1 ? [] : 'missing';
    } catch (error) {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    }
  }

  async subscribe(
    turnId: TurnId,
    onEntry: (entry: NumberedEntry) => void,
    onMissing: () => void = () => undefined,
  ): Promise<TurnSubscription> {
    let last = 0;
    const deliver = (entry: NumberedEntry): void => {
      last = Math.max(last, entry.n);
      onEntry(entry);
    };
    return this.#listen(
      turnPushChannel(turnId),
      (message) => deliver(decodePush(message)),
      async () => {
        const entries = await this.read(turnId, last);
        if (entries === 'missing') onMissing();
        else entries.forEach(deliver);
      },
    );
  }

  async isRemade(turnId: TurnId): Promise<boolean> {
    try {
      const [epoch, status] = await this.#redis.hmget(turnMetaKey(turnId), 'epoch', 'status');
      return status === 'running' && Number(epoch) >= epochOf(2, 0);
    } catch (error) {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    }
  }

  async countReaders(turnId: TurnId): Promise<number> {
    const args = [turnPushChannel(turnId)];
    return Number(await runScript(this.#redis, 'readers', [turnLogKey(turnId)], args));
  }

  onCancel(turnId: TurnId, callback: () => void): Promise<TurnSubscription> {
    return this.#listen(turnControlChannel(turnId), callback, async () => {
      if ((await this.#redis.hget(turnMetaKey(turnId), 'cancel')) !== null) callback();
    });
  }

  /** @param heal brings what a gap swallowed; tried until it succeeds, since no later push need tell of the gap */
  async #listen(
    channel: string,
    onMessage: (message: string) => void,
    heal: () => Promise<void>,
  ): Promise<TurnSubscription> {
    let isOpen = true;
    const onGap = async (): Promise<void> => {
      for (let isHealed = false; isOpen && !isHealed;) {
        isHealed = await heal().then(
          () => true,
          () => false,
        );
        if (!isHealed) await new Promise((resolve) => setTimeout(resolve, HEAL_RETRY_MS).unref());
      }
    };
    const listener: ChannelListener = { onMessage, onGap: () => void onGap() };
    await this.#hub.add(channel, listener);
    return {
      close: () => {
        isOpen = false;
        return this.#hub.remove(channel, listener);
      },
    };
  }
}
