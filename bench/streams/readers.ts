// Readers in processes of their own (the readers' work is not the gateway's): opening, dropping, reconnecting, and what they saw.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { projectPath } from '../../process/paths.ts';
import { Histogram } from '../histogram.ts';
import type { HistogramData } from '../histogram.ts';
import type { MadeTurn } from './made-turns.ts';
import type { OwnGateway } from './own-gateway.ts';

export type ReaderTask =
  | {
      readonly do: 'open';
      readonly port: number;
      readonly token: string;
      readonly paths: readonly string[];
      readonly overMs: number;
      /** Never reads a byte. */
      readonly isStalled: boolean;
    }
  | { readonly do: 'reconnect'; readonly count: number; readonly overMs: number }
  | { readonly do: 'forget' | 'report' | 'close' };

export interface ReaderReport {
  readonly entries: number;
  readonly gaps: number;
  readonly doubled: number;
  /** Connections that the gateway closed. */
  readonly closed: number;
  readonly refused: number;
  readonly open: number;
  /** Connections without an event yet. */
  readonly waiting: number;
  readonly latencyMs: HistogramData;
  /** Connection asked for → first event. */
  readonly firstEventMs: HistogramData;
  /** Sum of the last entries seen. */
  readonly lastSeen: number;
}

export interface SeenByReaders extends Omit<ReaderReport, 'latencyMs' | 'firstEventMs'> {
  readonly latencyMs: Histogram;
  readonly firstEventMs: Histogram;
}

export class Readers {
  readonly #children: readonly ChildProcess[];

  constructor(numProcesses: number) {
    const path = projectPath('dist', 'bench', 'streams', 'reader-process.js');
    this.#children = Array.from({ length: numProcesses }, () => fork(path));
  }

  get pids(): number[] {
    return this.#children.map(({ pid }) => pid ?? NaN);
  }

  /** One reader of each turn, evenly over `overMs`; resolves when all have been answered, stalled ones when they have asked. */
  async open(
    gateway: OwnGateway,
    turns: readonly MadeTurn[],
    overMs: number,
    isStalled = false,
  ): Promise<void> {
    const paths = turns.map(
      (turn) => `/v1/conversations/${turn.conversationId}/turns/${turn.turnId}/stream`,
    );
    const { port, token } = gateway;
    const count = this.#children.length;
    await this.#tell((index) => ({
      do: 'open',
      port,
      token,
      overMs,
      isStalled,
      paths: paths.filter((_, at) => at % count === index),
    }));
    if (!isStalled) await this.settled();
  }

  /** Drops `count` connections and asks for them again behind the last entry seen, evenly over `overMs`. */
  async reconnect(count: number, overMs: number): Promise<void> {
    const each = Math.ceil(count / this.#children.length);
    await this.#tell(() => ({ do: 'reconnect', count: each, overMs }));
  }

  /** Resolves when every connection has had an event. @throws Error after two minutes and a half */
  async settled(): Promise<void> {
    let seen = await this.report();
    for (let tries = 0; tries < 900; tries += 1) {
      seen = await this.report();
      const { refused, waiting } = seen;
      if (refused > 0) throw new Error(`${refused} connections were refused`);
      if (waiting === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { waiting, open, closed } = seen;
    throw new Error(`${waiting} without an event, ${open} open, ${closed} closed`);
  }

  async forget(): Promise<void> {
    await this.#tell(() => ({ do: 'forget' }));
  }

  async close(): Promise<void> {
    await this.#tell(() => ({ do: 'close' }));
  }

  async report(): Promise<SeenByReaders> {
    const [latencyMs, firstEventMs] = [new Histogram(), new Histogram()];
    const all = await this.#tell(() => ({ do: 'report' }));
    const sums = { entries: 0, gaps: 0, doubled: 0, closed: 0, refused: 0 };
    const states = { open: 0, waiting: 0, lastSeen: 0 };
    for (const each of all) {
      latencyMs.merge(each.latencyMs);
      firstEventMs.merge(each.firstEventMs);
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += each[name];
      for (const name of Object.keys(states) as (keyof typeof states)[]) states[name] += each[name];
    }
    return { ...sums, ...states, latencyMs, firstEventMs };
  }

  stop(): void {
    for (const child of this.#children) child.disconnect();
  }

  #tell(task: (index: number) => ReaderTask): Promise<ReaderReport[]> {
    return Promise.all(
      this.#children.map(async (child, index) => {
        const answer = once(child, 'message');
        child.send(task(index));
        return ((await answer) as [ReaderReport])[0];
      }),
    );
  }
}
