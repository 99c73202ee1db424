import { OpenStreams } from '../../../gateway/open-streams.ts';
import type { OpenStream } from '../../../gateway/open-streams.ts';
import { HEARTBEAT } from '../../../gateway/sse.ts';

const HEARTBEAT_MS = 15_000;

/** Streams that note when they got a heartbeat. */
function setUp(count: number) {
  const gauge = { set: () => undefined };
  const metrics = { sseStreams: gauge, sseWaitingBytes: gauge } as never;
  const streams = new OpenStreams(metrics, { heartbeatMs: HEARTBEAT_MS, streamBufferBytes: 1 });
  const beats = Array.from({ length: count }, (): number[] => []);
  for (const times of beats) {
    const stream: OpenStream = {
      write: (text) => void (text === HEARTBEAT && times.push(performance.now())),
      close: () => undefined,
      destroy: () => undefined,
    };
    streams.add(stream);
  }
  return { streams, beats };
}

describe('heartbeats of open streams', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it('come to a lone stream once in each interval', () => {
    const { streams, beats } = setUp(1);
    jest.advanceTimersByTime(HEARTBEAT_MS * 4.5);
    expect(beats[0]).toHaveLength(4);
    streams.drain();
  });

  it('come to all of a thousand that were opened at once, a few at a time', () => {
    const { streams, beats } = setUp(1000);
    jest.advanceTimersByTime(HEARTBEAT_MS * 4.6);
    const gaps = beats.flatMap((times) => times.map((at, index) => at - (times[index - 1] ?? 0)));
    expect(beats.every(({ length }) => length >= 3)).toBe(true);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(HEARTBEAT_MS * 1.6);
    const together = new Map<number, number>();
    for (const at of beats.flat()) together.set(at, (together.get(at) ?? 0) + 1);
    expect(Math.max(...together.values())).toBeLessThanOrEqual(8);
    streams.drain();
  });

  it('come no more to a stream that is gone', () => {
    const { streams, beats } = setUp(0);
    const times: number[] = [];
    const stream = {
      write: () => void times.push(1),
      close: () => undefined,
      destroy: () => undefined,
    };
    streams.add(stream);
    jest.advanceTimersByTime(HEARTBEAT_MS * 1.1);
    streams.remove(stream);
    jest.advanceTimersByTime(HEARTBEAT_MS * 3);
    expect([times, beats]).toEqual([[1], []]);
    streams.drain();
  });
});
