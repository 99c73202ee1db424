// Sharded subscriptions of one process over one connection (in a cluster, one a primary): the first listener of a channel
// subscribes, the last one unsubscribes, and after a lost connection or a failover every channel is subscribed again and
// told that messages may be missing.
import { AppError } from '../contracts/errors.ts';
import { isCluster } from './connection.ts';
import type { Redis } from './connection.ts';

export interface ChannelListener {
  onMessage(message: string): void;
  /** The connection was lost and is back: messages in between are gone. */
  onGap(): void;
}

interface Channel {
  readonly listeners: Set<ChannelListener>;
  /** Resolves when messages are certain to arrive. */
  ready: Promise<unknown>;
  /** Of subscribing again; only the newest goes on. */
  numAttempts: number;
}

/** Waits between tries to subscribe again; the last one is repeated until it succeeds or nobody listens. */
const RETRY_MS = [50, 100, 200, 400, 800] as const;
/** A new reader is refused after this rather than kept waiting for a Redis that is away. */
const SUBSCRIBE_LIMIT_MS = 2000;

export class ChannelHub {
  readonly #subscriber: Redis;
  readonly #channels = new Map<string, Channel>();
  #hasBeenReady: boolean;
  #isClosed = false;

  /** @param subscriber a connection for this hub alone, see connectSubscriber; closed by close() */
  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    this.#hasBeenReady = subscriber.status === 'ready';
    subscriber.on('smessage', (channel: string, message: string) => {
      const entry = this.#channels.get(channel);
      // A cluster's client may have subscribed again what was let go while a node was away.
      if (entry === undefined && !this.#isClosed) void this.#unsubscribe(channel);
      for (const listener of entry?.listeners ?? []) listener.onMessage(message);
    });
    // A cluster says so after each change of its shape, and after each loss of a subscriber's connection.
    subscriber.on(isCluster(subscriber) ? 'subscribersReady' : 'ready', () => {
      if (this.#hasBeenReady) this.#resubscribe();
      this.#hasBeenReady = true;
    });
  }

  /** Resolves once messages published from now on are certain to arrive. @throws AppError STREAM_UNAVAILABLE */
  async add(channel: string, listener: ChannelListener): Promise<void> {
    let entry = this.#channels.get(channel);
    if (entry === undefined) {
      entry = { listeners: new Set(), ready: this.#subscribe(channel), numAttempts: 0 };
      this.#channels.set(channel, entry);
    }
    entry.listeners.add(listener);
    try {
      await within(SUBSCRIBE_LIMIT_MS, entry.ready);
    } catch (error) {
      void this.remove(channel, listener); // It may have to wait for the same Redis.
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    }
  }

  async remove(channel: string, listener: ChannelListener): Promise<void> {
    const entry = this.#channels.get(channel);
    if (entry === undefined || !entry.listeners.delete(listener) || entry.listeners.size > 0)
      return;
    this.#channels.delete(channel);
    await this.#unsubscribe(channel);
  }

  close(): void {
    this.#isClosed = true;
    this.#channels.clear();
    this.#subscriber.disconnect();
  }

  #resubscribe(): void {
    for (const [channel, entry] of this.#channels) {
      const again = this.#subscribeUntilDone(channel, entry);
      entry.ready = again;
      void again.then((isDone) => {
        if (isDone) for (const listener of entry.listeners) listener.onGap();
      });
    }
  }

  /** False when it was given up: nobody listens any more, or a newer change of shape began its own. */
  async #subscribeUntilDone(channel: string, entry: Channel): Promise<boolean> {
    const attempt = (entry.numAttempts += 1);
    const isWanted = (): boolean =>
      this.#channels.get(channel) === entry && entry.numAttempts === attempt;
    for (let tries = 0; isWanted(); tries += 1) {
      try {
        await this.#subscribe(channel);
        return isWanted();
      } catch {
        const waitMs = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)];
        await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
      }
    }
    return false;
  }

  /** As a promise in every case: a cluster's client throws for a slot that it does not know yet. */
  async #subscribe(channel: string): Promise<void> {
    await this.#subscriber.ssubscribe(channel);
  }

  async #unsubscribe(channel: string): Promise<void> {
    const isReady = this.#subscriber.status === 'ready';
    // A single connection that is away has no subscription any more, and gets none for a channel that is not in the map.
    if (!isReady && !isCluster(this.#subscriber)) return;
    // A refusal means that the connection is gone, and with it the subscription.
    const leave = async (): Promise<unknown> => this.#subscriber.sunsubscribe(channel);
    const leaving = leave().catch(() => undefined);
    if (isReady) await leaving;
  }
}

/** @throws Error when `work` takes longer; it goes on */
async function within(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no subscription within ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
