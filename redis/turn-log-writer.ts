// The writing end of the turn log on Redis. Every method is one script, so no reader ever sees half of it.
import {
  RUNNING_LOG_TTL_MS,
  ENDED_LOG_TTL_MS,
  turnControlChannel,
  turnLogKey,
  turnMetaKey,
  turnPushChannel,
} from '../contracts/redis-keys.ts';
import { SEAL_EPOCH } from '../contracts/turn-log.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { NumberedEntry, OpenData, TurnEntry } from '../contracts/turn-events.ts';
import type {
  AppendResult,
  ClaimedLog,
  TurnLogOwner,
  TurnLogWriter,
} from '../contracts/turn-log.ts';
import { AppError } from '../contracts/errors.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';
import { decodeRow, encodeEntries } from './log-codec.ts';
import { replicated } from './replication.ts';

export class RedisTurnLogWriter implements TurnLogWriter {
  readonly #redis: Redis;

  /** @param redis a command connection; owned by the caller */
  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async create(open: OpenData, owner: TurnLogOwner): Promise<boolean> {
    const turnId = open.turn_id as TurnId;
    const args = [
      turnPushChannel(turnId),
      RUNNING_LOG_TTL_MS,
      owner.userId,
      owner.conversationId,
      open.pool,
      JSON.stringify(open),
    ];
    return (await this.#write('create', turnId, args)) === 1;
  }

  async claim(turnId: TurnId, epoch: number): Promise<ClaimedLog | 'fenced' | 'missing'> {
    const log = await this.#claim(turnId, epoch, 0);
    return log === 'short' ? 'missing' : log;
  }

  async seal(turnId: TurnId, leastEntry: number): Promise<ClaimedLog | 'short' | 'missing'> {
    const log = await this.#claim(turnId, SEAL_EPOCH, leastEntry);
    if (log === 'fenced')
      throw new AppError('INVARIANT_VIOLATED', { message: 'a log is sealed above the seal' });
    return log;
  }

  async append(
    turnId: TurnId,
    epoch: number,
    entries: readonly NumberedEntry[],
  ): Promise<AppendResult> {
    const first = entries[0];
    if (first === undefined) return 'ok';
    const args = [
      epoch,
      turnPushChannel(turnId),
      RUNNING_LOG_TTL_MS,
      first.n,
      ...encodeEntries(entries),
    ];
    return (await this.#write('append', turnId, args)) as AppendResult;
  }

  async restore(
    owner: TurnLogOwner,
    turnId: TurnId,
    epoch: number,
    entries: readonly NumberedEntry[],
  ): Promise<AppendResult> {
    const open = entries[0];
    if (open?.type !== 'open' || entries.some((entry, index) => entry.n !== index + 1)) {
      throw new AppError('INVARIANT_VIOLATED', {
        message: 'a log is restored from entry 1 on, without gaps',
      });
    }
    const args = [
      epoch,
      turnPushChannel(turnId),
      RUNNING_LOG_TTL_MS,
      owner.userId,
      owner.conversationId,
      open.data.pool,
    ];
    return (await this.#write('restore', turnId, [
      ...args,
      ...encodeEntries(entries),
    ])) as AppendResult;
  }

  async end(turnId: TurnId, closing: readonly TurnEntry[]): Promise<'ok' | 'missing'> {
    const args = [turnPushChannel(turnId), ENDED_LOG_TTL_MS, ...encodeEntries(closing)];
    return (await this.#write('end', turnId, args)) as 'ok' | 'missing';
  }

  async cancel(turnId: TurnId): Promise<boolean> {
    return (
      (await runScript(
        this.#redis,
        'cancel',
        [turnMetaKey(turnId)],
        [turnControlChannel(turnId)],
      )) === 1
    );
  }

  async isCancelled(turnId: TurnId): Promise<boolean> {
    const flag = await this.#redis.hget(turnMetaKey(turnId), 'cancel').catch((error: unknown) => {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    });
    return flag !== null;
  }

  async remove(turnId: TurnId): Promise<void> {
    await this.#redis.del(...keys(turnId)).catch((error: unknown) => {
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    });
  }

  async #claim(
    turnId: TurnId,
    epoch: number,
    leastEntry: number,
  ): Promise<ClaimedLog | 'fenced' | 'missing' | 'short'> {
    const args = [epoch, leastEntry];
    const [answer, cancelled, ended, entries] = (await runScript(
      this.#redis,
      'claim',
      keys(turnId),
      args,
    )) as [string, number, number, unknown[]];
    if (answer === 'fenced' || answer === 'missing' || answer === 'short') return answer;
    return {
      entries: entries.map(decodeRow),
      isCancelled: cancelled === 1,
      isEnded: ended === 1,
    };
  }

  /** A script that adds entries. What it answered is true of a replica too, so that it stays true when the primary dies. */
  async #write(
    script: string,
    turnId: TurnId,
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const answer = await runScript(this.#redis, script, keys(turnId), args);
    if (answer === 'ok' || answer === 1) await replicated(this.#redis, turnLogKey(turnId));
    return answer;
  }
}

function keys(turnId: TurnId): [log: string, meta: string] {
  return [turnLogKey(turnId), turnMetaKey(turnId)];
}
