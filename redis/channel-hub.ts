// Sharded subscriptions of one process over one connection: the first listener of a channel subscribes, the last one
// unsubscribes, and after a lost connection every channel is told that messages may be missing.
import { AppError } from '../contracts/errors.ts';
import type { Redis } from './connection.ts';

export interface ChannelListener {
  onMessage(message: string): void;
  /** The connection was lost and is back: messages in between are gone. */
  onGap(): void;
}

export class ChannelHub {
  readonly #subscriber: Redis;
  readonly #channels = new Map<
    string,
    { listeners: Set<ChannelListener>; ready: Promise<unknown> }
  >();
  #hasBeenReady: boolean;

  /** @param subscriber a connection for this hub alone, see connectSubscriber; closed by close() */
  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    this.#hasBeenReady = subscriber.status === 'ready';
    subscriber.on('smessage', (channel: string, message: string) => {
      for (const listener of this.#channels.get(channel)?.listeners ?? [])
        listener.onMessage(message);
    });
    subscriber.on('ready', () => {
      if (this.#hasBeenReady) this.#resubscribe();
      this.#hasBeenReady = true;
    });
  }

  /** Resolves once messages published from now on are certain to arrive. @throws AppError STREAM_UNAVAILABLE */
  async add(channel: string, listener: ChannelListener): Promise<void> {
    let entry = this.#channels.get(channel);
    if (entry === undefined) {
      entry = { listeners: new Set(), ready: this.#subscriber.ssubscribe(channel) };
      this.#channels.set(channel, entry);
    }
    entry.listeners.add(listener);
    try {
      await entry.ready;
    } catch (error) {
      await this.remove(channel, listener);
      throw new AppError('STREAM_UNAVAILABLE', { cause: error });
    }
  }

  async remove(channel: string, listener: ChannelListener): Promise<void> {
    const entry = this.#channels.get(channel);
    if (entry === undefined || !entry.listeners.delete(listener) || entry.listeners.size > 0)
      return;
    this.#channels.delete(channel);
    // A refusal here means the connection is gone, and with it the subscription.
    await this.#subscriber.sunsubscribe(channel).catch(() => undefined);
  }

  close(): void {
    this.#subscriber.disconnect();
  }

  #resubscribe(): void {
    for (const [channel, entry] of this.#channels) {
      entry.ready = this.#subscriber.ssubscribe(channel);
      entry.ready.then(
        () => {
          for (const listener of entry.listeners) listener.onGap();
        },
        () => undefined, // The next 'ready' tries again.
      );
    }
  }
}
