// All event streams of this process: counted, given heartbeats by one timer, and closed together at a drain.
import type { Gauge } from '../process/metrics.ts';
import { HEARTBEAT, reconnectAfter } from './sse.ts';

export interface OpenStream {
  /** Writes unless the stream is closed. */
  write(text: string): void;
  close(): void;
}

/** Readers of a drained gateway come back after this; by then a balancer knows. */
const RECONNECT_MS = 500;

export class OpenStreams {
  readonly #streams = new Set<OpenStream>();
  readonly #gauge: Gauge;
  readonly #timer: NodeJS.Timeout;

  constructor(gauge: Gauge, heartbeatMs: number) {
    this.#gauge = gauge;
    this.#timer = setInterval(() => {
      for (const stream of this.#streams) stream.write(HEARTBEAT);
    }, heartbeatMs);
    this.#timer.unref();
  }

  add(stream: OpenStream): void {
    this.#streams.add(stream);
    this.#gauge.set(this.#streams.size);
  }

  remove(stream: OpenStream): void {
    this.#streams.delete(stream);
    this.#gauge.set(this.#streams.size);
  }

  /** Ends every stream without `done`: its reader resumes elsewhere. */
  drain(): void {
    clearInterval(this.#timer);
    for (const stream of [...this.#streams]) {
      stream.write(reconnectAfter(RECONNECT_MS));
      stream.close();
    }
  }
}
