// Bar 9: readers with tokens flowing, alone, beside 1,000 readers that take nothing, beside 500 sockets that never finish
// their headers, and through 1,000 reconnects within a second.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { residentBytes } from '../process-usage.ts';
import { makeTurns } from './made-turns.ts';
import type { MadeTurn } from './made-turns.ts';
import { Readers } from './readers.ts';
import { flow, missing, sleep } from './stage.ts';
import type { FlowSeen, Stage } from './stage.ts';

export interface SlowOptions {
  readonly flowing: number;
  readonly rate: number;
  readonly seconds: number;
  readonly stalled: number;
  readonly slowHeaders: number;
  readonly reconnects: number;
}

/** A text that no socket buffer of the kernel holds. */
const LONG_ENTRIES = 6000;
const LONG_ENTRY = 'x'.repeat(1024);

export async function runSlow(stage: Stage, options: SlowOptions): Promise<void> {
  const { gateway, log, readers, report } = stage;
  const turns = await makeTurns(gateway, log, options.flowing);
  const [long] = await makeTurns(gateway, log, 1);
  if (long === undefined) throw new Error('no turn was made');
  for (let batch = 0; batch < LONG_ENTRIES; batch += 100) {
    const entries = Array.from({ length: 100 }, (_, index) => ({
      n: batch + index + 2,
      type: 'token' as const,
      data: { text: LONG_ENTRY, ids: [1] },
    }));
    await log.append(long.turnId, 1001, entries);
  }
  await readers.open(gateway, turns, 2000);
  const rows: (string | number)[][] = [
    ['beside', 'p50 ms', 'p99 ms', 'p99 ÷ alone', 'RSS MB', 'gaps', 'doubled', 'missing'],
  ];
  let alone = NaN;
  const tell = (beside: string, flowed: FlowSeen, more: object = {}): void => {
    const { seen } = flowed;
    const [latency, rss] = [seen.latencyMs.summary(), Math.round(residentBytes(gateway.pid) / 1e6)];
    if (Number.isNaN(alone)) alone = latency.p99;
    const ratio = Number((latency.p99 / alone).toPrecision(3));
    const { gaps, doubled, closed } = seen;
    const lost = missing(turns, seen);
    report.line({
      beside,
      entriesPerSecond: Math.round(flowed.perSecond),
      appendToSocketMs: latency,
      p99OverAlone: ratio,
      residentMegabytes: rss,
      gaps,
      doubled,
      missing: lost,
      closed,
      ...more,
    });
    rows.push([beside, latency.p50, latency.p99, ratio, rss, gaps, doubled, lost]);
  };
  const run = (during?: () => Promise<void>): Promise<FlowSeen> =>
    flow(stage, turns, options.rate, options.seconds, during);

  tell('nothing', await run());

  const stalled = new Readers(1);
  await stalled.open(gateway, Array<MadeTurn>(options.stalled).fill(long), 4000, true);
  // The kernel takes some megabytes for each before the gateway feels that nobody reads.
  tell(`${options.stalled} readers that take nothing, while they fill`, await run());
  await full(stage);
  tell(`${options.stalled} readers that take nothing`, await run(), {
    waitingBytes: await waitingBytes(stage),
    stalledClosed: (await stalled.report()).closed,
  });
  await stalled.close();
  stalled.stop();
  await sleep(1000);
  tell('nothing, again', await run());

  const sockets = slowHeaders(gateway.port, options.slowHeaders);
  tell(`${options.slowHeaders} sockets with slow headers`, await run(), {
    stillOpen: sockets.filter(({ destroyed }) => !destroyed).length,
  });
  for (const socket of sockets) socket.destroy();

  const others = new Readers(1);
  await others.open(gateway, turns.slice(0, options.reconnects), 2000);
  await others.forget();
  const flowed = await run(() => others.reconnect(options.reconnects, 1000));
  const seen = await others.report();
  tell(`${options.reconnects} reconnects in 1 s`, flowed, {
    reconnected: {
      firstEventMs: seen.firstEventMs.summary(),
      open: seen.open,
      refused: seen.refused,
      gaps: seen.gaps,
      doubled: seen.doubled,
      missing: missing(turns.slice(0, options.reconnects), seen),
    },
  });
  await others.close();
  others.stop();
  report.table(rows);
}

/** Half a request line, then a byte a second. */
function slowHeaders(port: number, count: number): Socket[] {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    socket.write('GET /v1/models HTTP/1.1\r\nHost: bench\r\nX-Slow: ');
    return socket.resume();
  });
  let next = 0;
  const timer = setInterval(() => {
    for (let each = 0; each < count / 100; each += 1) {
      const socket = sockets[next++ % count];
      if (socket?.destroyed === false) socket.write('x');
    }
    if (sockets.every(({ destroyed }) => destroyed)) clearInterval(timer);
  }, 10);
  return sockets;
}

/** Resolves when no more readers stall, or after a minute. */
async function full(stage: Stage): Promise<void> {
  let before = -1;
  for (let tries = 0; tries < 30; tries += 1) {
    const now = await waitingBytes(stage);
    if (now === before && now > 0) return;
    before = now;
    await sleep(2000);
  }
}

async function waitingBytes({ gateway }: Stage): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${gateway.port}/metrics`)).text();
  return Number(/^colloquy_sse_waiting_bytes(?:\{[^}]*\})? (\S+)$/m.exec(page)?.[1] ?? NaN);
}
