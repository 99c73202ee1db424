// The lease of a process that runs activities, and the watch over everybody else's: one script on a timer does both. What a
// lost process ran goes to `onLost`; only when that has been seen to is the process forgotten.
import type { LeasedTask, LostProcess, TaskLeases } from '../contracts/process-leases.ts';
import {
  BEAT_MS,
  LAST_BEAT_KEY,
  LEASE_MS,
  LEASED_TASKS_KEY,
  LEASES_KEY,
  MAX_SILENCE_MS,
} from '../contracts/redis-keys.ts';
import { runScript } from './connection.ts';
import type { Redis } from './connection.ts';

export interface ProcessLeasesOptions {
  /** A command connection; owned by the caller. */
  readonly redis: Redis;
  /** Unique among all processes that ever ran; null for one that only watches. */
  readonly process: string | null;
  /** Hands back what the process ran. A rejection leaves it to whoever hears of it next. */
  readonly onLost: (lost: LostProcess) => Promise<void>;
  /** A beat, or the work after it, failed; the next one tries again. */
  readonly onError: (error: unknown) => void;
}

/** A finished task is kept this long: its result may still be on its way to Temporal. */
const FORGET_MS = 1000;
/** Longer than any generation; nothing stays behind a system that is gone. */
const TTL_MS = 15 * 60_000;

export class ProcessLeases implements TaskLeases {
  readonly #options: ProcessLeasesOptions;
  /** Field → every task that is or was just running, as JSON. */
  readonly #tasks = new Map<string, string>();
  /** Fields of finished tasks → when they finished. */
  readonly #finished = new Map<string, number>();
  #numTasks = 0;
  #timer: NodeJS.Timeout | null = null;
  #beating: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: ProcessLeasesOptions) {
    this.#options = options;
  }

  /** Beats from now on. */
  start(): void {
    this.#beating = this.#beat();
  }

  /** Gives the lease up: an orderly end is nobody's loss. Call it when no task runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#beating;
    const { process, onError } = this.#options;
    if (process !== null) await this.#bury(process, this.#tasks.keys()).catch(onError);
  }

  hold(task: LeasedTask): () => void {
    const field = `${this.#options.process} ${(this.#numTasks += 1)}`;
    const value = JSON.stringify(task);
    this.#tasks.set(field, value);
    // Not awaited: if it fails, the heartbeat's time-out finds the loss, later.
    this.#options.redis.hset(LEASED_TASKS_KEY, field, value).catch(() => undefined);
    return () => void this.#finished.set(field, Date.now());
  }

  async #beat(): Promise<void> {
    const startedAt = performance.now();
    try {
      await this.#renew();
    } catch (error) {
      this.#options.onError(error);
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(
      () => void (this.#beating = this.#beat()),
      Math.max(10, BEAT_MS - (performance.now() - startedAt)),
    );
  }

  async #renew(): Promise<void> {
    const { redis, process, onLost } = this.#options;
    const before = Date.now() - FORGET_MS;
    const forget = [...this.#finished].flatMap(([field, at]) => (at <= before ? [field] : []));
    const [isNew, lost, ...pairs] = (await runScript(
      redis,
      'beat',
      [LEASES_KEY, LEASED_TASKS_KEY, LAST_BEAT_KEY],
      [process ?? '', LEASE_MS, MAX_SILENCE_MS, TTL_MS, ...forget],
    )) as [number, string, ...string[]];
    for (const field of forget) {
      this.#finished.delete(field);
      this.#tasks.delete(field);
    }
    // Redis forgot this process, or others gave it up: what it still runs has to be known again.
    if (isNew === 1 && this.#tasks.size > 0)
      await redis.hset(LEASED_TASKS_KEY, Object.fromEntries(this.#tasks));
    if (lost === '') return;
    const fields = pairs.filter((_, index) => index % 2 === 0);
    const tasks = pairs
      .filter((_, index) => index % 2 === 1)
      .map((value) => JSON.parse(value) as LeasedTask);
    await onLost({ process: lost, tasks });
    await this.#bury(lost, fields);
  }

  async #bury(process: string, fields: Iterable<string>): Promise<void> {
    await runScript(
      this.#options.redis,
      'bury',
      [LEASES_KEY, LEASED_TASKS_KEY],
      [process, ...fields],
    );
  }
}
