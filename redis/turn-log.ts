// Both ends of the turn log on Redis as one object, for processes that read and write.
import type { TurnId } from '../contracts/ids.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import type { TurnControl, TurnLogReader, TurnSubscription } from '../contracts/turn-log.ts';
import type { ChannelHub } from './channel-hub.ts';
import type { Redis } from './connection.ts';
import { RedisTurnLogReader } from './turn-log-reader.ts';
import { RedisTurnLogWriter } from './turn-log-writer.ts';

export class RedisTurnLog extends RedisTurnLogWriter implements TurnLogReader, TurnControl {
  readonly #reader: RedisTurnLogReader;

  constructor(redis: Redis, hub: ChannelHub) {
    super(redis);
    this.#reader = new RedisTurnLogReader(redis, hub);
  }

  read(
    turnId: TurnId,
    after: number,
    limit?: number,
  ): Promise<readonly NumberedEntry[] | 'missing'> {
    return this.#reader.read(turnId, after, limit);
  }

  subscribe(
    turnId: TurnId,
    onEntry: (entry: NumberedEntry) => void,
    onMissing?: () => void,
  ): Promise<TurnSubscription> {
    return this.#reader.subscribe(turnId, onEntry, onMissing);
  }

  isRemade(turnId: TurnId): Promise<boolean> {
    return this.#reader.isRemade(turnId);
  }

  countReaders(turnId: TurnId): Promise<number> {
    return this.#reader.countReaders(turnId);
  }

  onCancel(turnId: TurnId, callback: () => void): Promise<TurnSubscription> {
    return this.#reader.onCancel(turnId, callback);
  }
}
