// All event streams of this process: counted, given heartbeats by one timer, a few at a time, bounded in the bytes that wait for slow
// readers, and closed together at a drain.
import type { Metrics } from '../process/metrics.ts';
import { HEARTBEAT, reconnectAfter } from './sse.ts';
import { LoopHeadroom } from './loop-headroom.ts';
import { Turnstile } from './turnstile.ts';

export interface OpenStream {
  /** Writes unless the stream is closed, or its reader takes nothing. */
  write(text: string): void;
  /** Ends it when what waits is sent. */
  close(): void;
  /** Ends it now; what waits is dropped. */
  destroy(): void;
}

export interface StreamLimits {
  readonly heartbeatMs: number;
  /** Bytes that may wait for all slow readers together. */
  readonly streamBufferBytes: number;
}

/** Readers of a drained gateway come back after this; by then a balancer knows. */
const RECONNECT_MS = 500;

/** Each page is a millisecond or two of this process; between two of them, live text passes. */
const REPLAYS_AT_A_TIME = 1;

/** The timer looks so often in the time between two heartbeats of a stream: it lets live text pass between a few of them. */
const HEARTBEAT_ROUNDS = 256;
/** A round gives at most twice its share, so that thousands which came together drift apart. */
const MAX_ROUND_SHARE = 2 / HEARTBEAT_ROUNDS;

/** See resumes-in-turn.ts. */
const RESUMES_AT_A_TIME = 4;
/** While a store hangs, each who was let in waits for its refusal; the others must not wait for theirs behind them. */
const RESUME_PATIENCE_MS = 250;
/** While a store is slow, or a thousand come at once on a slow machine. */
const MAX_RESUME_WAIT_MS = 5000;

export class OpenStreams {
  /** Through which further pages of long replays are read. */
  readonly replays = new Turnstile(REPLAYS_AT_A_TIME);
  /** Through which readers that come back reach their turn. */
  readonly resumes = new Turnstile(RESUMES_AT_A_TIME, {
    patienceMs: RESUME_PATIENCE_MS,
    maxWaitMs: MAX_RESUME_WAIT_MS,
    pace: () => this.#headroom.wait(),
  });
  readonly #headroom = new LoopHeadroom();
  /** When the next heartbeat of each is due, the soonest first. */
  readonly #streams = new Map<OpenStream, number>();
  /** Streams whose reader has taken less than it was given, the longest stalled first, with the bytes that wait. */
  readonly #stalled = new Map<OpenStream, number>();
  readonly #metrics: Pick<Metrics, 'sseStreams' | 'sseWaitingBytes'>;
  readonly #maxWaitingBytes: number;
  readonly #heartbeatMs: number;
  readonly #timer: NodeJS.Timeout;
  #waitingBytes = 0;

  constructor(
    metrics: Pick<Metrics, 'sseStreams' | 'sseWaitingBytes'>,
    { heartbeatMs, streamBufferBytes }: StreamLimits,
  ) {
    this.#metrics = metrics;
    this.#maxWaitingBytes = streamBufferBytes;
    this.#heartbeatMs = heartbeatMs;
    this.#timer = setInterval(() => this.#beat(), Math.ceil(heartbeatMs / HEARTBEAT_ROUNDS));
    this.#timer.unref();
  }

  /** Bytes that wait for stalled readers. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  add(stream: OpenStream): void {
    this.#streams.set(stream, performance.now() + this.#heartbeatMs);
    this.#metrics.sseStreams.set(this.#streams.size);
  }

  remove(stream: OpenStream): void {
    this.flowing(stream);
    this.#streams.delete(stream);
    this.#metrics.sseStreams.set(this.#streams.size);
  }

  /** A reader has stopped taking: `bytes` wait for it. Over the bound, those that have stalled longest are closed. */
  stalled(stream: OpenStream, bytes: number): void {
    this.flowing(stream);
    this.#stalled.set(stream, bytes);
    this.#count(bytes);
    for (const longest of this.#stalled.keys()) {
      if (this.#waitingBytes <= this.#maxWaitingBytes) break;
      this.flowing(longest);
      longest.destroy();
    }
  }

  /** A reader takes again, or is gone. */
  flowing(stream: OpenStream): void {
    const bytes = this.#stalled.get(stream);
    if (bytes === undefined) return;
    this.#stalled.delete(stream);
    this.#count(-bytes);
  }

  /** Ends every stream without `done`: its reader resumes elsewhere. */
  drain(): void {
    clearInterval(this.#timer);
    for (const stream of [...this.#streams.keys()]) {
      stream.write(reconnectAfter(RECONNECT_MS));
      stream.close();
    }
  }

  #beat(): void {
    const now = performance.now();
    let left = Math.ceil(this.#streams.size * MAX_ROUND_SHARE);
    for (const [stream, dueAt] of this.#streams) {
      if (dueAt > now || left === 0) break;
      left -= 1;
      this.#streams.delete(stream);
      this.#streams.set(stream, now + this.#heartbeatMs);
      stream.write(HEARTBEAT);
    }
  }

  #count(bytes: number): void {
    this.#waitingBytes += bytes;
    this.#metrics.sseWaitingBytes.set(this.#waitingBytes);
  }
}
