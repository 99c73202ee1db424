// Marks of the newest writes in Redis. It may lose them at any time: a mark that is gone begins anew and says so by its age.
import type { UserId } from '../contracts/ids.ts';
import { WRITE_MARK_TTL_MS, writeMarkKey } from '../contracts/redis-keys.ts';
import type { LogPosition, WriteMark, WriteMarks } from '../contracts/write-marks.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';
import { replicated } from './replication.ts';

export class RedisWriteMarks implements WriteMarks {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async remember(database: string, userId: UserId, position: LogPosition | null): Promise<void> {
    const key = writeMarkKey(database, userId);
    const { timeline = '', lsn = '' } = position ?? {};
    await runScript(this.#redis, 'remember', [key], [timeline, lsn, WRITE_MARK_TTL_MS]);
    await replicated(this.#redis, key);
  }

  async recall(database: string, userId: UserId): Promise<WriteMark> {
    const key = writeMarkKey(database, userId);
    const [ageMs, timeline, lsn] = (await runScript(
      this.#redis,
      'recall',
      [key],
      [WRITE_MARK_TTL_MS],
    )) as [number, string, string];
    const position = timeline === '' ? null : { timeline: Number(timeline), lsn: Number(lsn) };
    return { ageMs, position };
  }
}
