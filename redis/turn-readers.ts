// How far the readers of a turn are, beside its log: a field for each gateway that has some.
import { turnMetaKey } from '../contracts/redis-keys.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { ReadersState, TurnReaders } from '../contracts/turn-log.ts';
import { AppError } from '../contracts/errors.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';

const FIELD = 'readers ';

export class RedisTurnReaders implements TurnReaders {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async report(turnId: TurnId, gateway: string, state: ReadersState): Promise<void> {
    const value = state === 'none' ? '' : String(state);
    await runScript(this.#redis, 'report', [turnMetaKey(turnId)], [`${FIELD}${gateway}`, value]);
  }

  async stateOf(turnId: TurnId): Promise<ReadersState> {
    const meta = await this.#redis.hgetall(turnMetaKey(turnId)).catch((error: unknown) => {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    });
    const states = Object.entries(meta)
      .filter(([field]) => field.startsWith(FIELD))
      .map(([, value]) => value);
    if (states.length === 0) return 'none';
    return states.includes('flowing') ? 'flowing' : Math.max(...states.map(Number));
  }
}
