import { EventEmitter } from 'node:events';
import { ChannelHub } from '../../../redis/channel-hub.ts';
import type { Redis } from '../../../redis/connection.ts';

/** A subscriber connection whose answers the test decides. */
class FakeSubscriber extends EventEmitter {
  readonly isCluster = false;
  status = 'ready';
  readonly asked: string[] = [];
  answer: (channel: string) => Promise<unknown> = async () => 1;
  ssubscribe(channel: string): Promise<unknown> {
    this.asked.push(`+${channel}`);
    return this.answer(channel);
  }
  async sunsubscribe(channel: string): Promise<unknown> {
    this.asked.push(`-${channel}`);
    return 1;
  }
  disconnect(): void {}
}

const listener = (onGap: () => void = () => undefined): { onMessage(): void; onGap(): void } => ({
  onMessage: () => undefined,
  onGap,
});

function hubOn(subscriber: FakeSubscriber): ChannelHub {
  return new ChannelHub(subscriber as unknown as Redis);
}

describe('ChannelHub', () => {
  it('subscribes again until it succeeds, and only then tells of the gap, once', async () => {
    const subscriber = new FakeSubscriber();
    const hub = hubOn(subscriber);
    let numGaps = 0;
    let tell: () => void = () => undefined;
    const told = new Promise<void>((resolve) => (tell = resolve));
    await hub.add(
      'c',
      listener(() => {
        numGaps += 1;
        tell();
      }),
    );
    let refusals = 2;
    subscriber.answer = async () => {
      if ((refusals -= 1) >= 0) throw new Error('MOVED');
    };
    subscriber.emit('ready');
    await told;
    expect(subscriber.asked).toEqual(['+c', '+c', '+c', '+c']);
    expect(numGaps).toBe(1);
  });

  it('gives up subscribing again to a channel that nobody listens to any more', async () => {
    const subscriber = new FakeSubscriber();
    const hub = hubOn(subscriber);
    const own = listener();
    await hub.add('c', own);
    let ask: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => (ask = resolve));
    let refuse: (error: Error) => void = () => undefined;
    subscriber.answer = () => {
      ask();
      return new Promise((_, reject) => (refuse = reject));
    };
    subscriber.emit('ready');
    await asked;
    await hub.remove('c', own);
    refuse(new Error('MOVED'));
    await new Promise(setImmediate);
    expect(subscriber.asked).toEqual(['+c', '+c', '-c']);
  });

  it('refuses a new listener after two seconds instead of keeping it waiting', async () => {
    jest.useFakeTimers();
    try {
      const subscriber = new FakeSubscriber();
      subscriber.answer = () => new Promise(() => undefined);
      const adding = hubOn(subscriber).add('c', listener());
      const outcome = adding.then(
        () => 'added',
        (error: { code: string }) => error.code,
      );
      await jest.advanceTimersByTimeAsync(2000);
      expect(await outcome).toBe('STREAM_UNAVAILABLE');
      expect(subscriber.asked).toEqual(['+c', '-c']);
    } finally {
      jest.useRealTimers();
    }
  });

  it('lets a channel go that still sends though nobody listens to it', async () => {
    const subscriber = new FakeSubscriber();
    const hub = hubOn(subscriber);
    const own = listener();
    await hub.add('c', own);
    subscriber.emit('smessage', 'other', 'text');
    expect(subscriber.asked).toEqual(['+c', '-other']);
  });
});
