// A process full of readers: plain sockets that follow streams and check that no entry is missing or doubled. Told what to
// do by messages; see readers.ts.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { Histogram } from '../histogram.ts';
import type { ReaderReport, ReaderTask } from './readers.ts';

interface Reader {
  readonly path: string;
  readonly isStalled: boolean;
  socket: Socket;
  /** The last entry seen. */
  last: number;
  rest: string;
  /** When the connection was asked for; NaN once its first event is here. */
  askedAt: number;
  isOpen: boolean;
  /** Clock at the connection's first event, ns. */
  liveSince: bigint;
}

const NEVER = 2n ** 63n;

let port = 0;
let token = '';
let readers: Reader[] = [];
let latency = new Histogram();
let firstEvent = new Histogram();
let counts = { entries: 0, gaps: 0, doubled: 0, closed: 0, refused: 0 };

function open(reader: Reader): void {
  reader.askedAt = performance.now();
  reader.rest = '';
  reader.isOpen = false;
  reader.liveSince = NEVER;
  const socket = connect({ port, host: '127.0.0.1' });
  reader.socket = socket;
  socket.setNoDelay(true);
  socket.write(
    `GET ${reader.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${token}\r\nLast-Event-ID: ${reader.last}\r\n\r\n`,
  );
  socket.on('error', () => undefined);
  socket.on('close', () => {
    if (reader.socket === socket) counts.closed += 1;
  });
  if (reader.isStalled) socket.pause();
  else socket.on('data', (chunk: Buffer) => take(reader, chunk.toString('latin1')));
}

/** Chunk sizes are lines as well and look like no field; frames are never split over chunks. */
function take(reader: Reader, chunk: string): void {
  const now = process.hrtime.bigint();
  const lines = (reader.rest + chunk).split('\n');
  reader.rest = lines.pop() ?? '';
  for (const line of lines) {
    if (line.startsWith('HTTP/1.1 ')) {
      reader.isOpen = line.startsWith('HTTP/1.1 200');
      if (!reader.isOpen) refuse(chunk);
    } else if (line.startsWith('data: ')) {
      check(reader, line, now);
      if (Number.isNaN(reader.askedAt)) continue;
      firstEvent.add(performance.now() - reader.askedAt);
      reader.askedAt = NaN;
      reader.liveSince = now;
    }
  }
}

function check(reader: Reader, line: string, now: bigint): void {
  const stamps = line.match(/\d+:\d+;/g);
  if (stamps === null) {
    reader.last = Math.max(reader.last, 1);
    return;
  }
  for (const stamp of stamps) {
    const [n = NaN, us = NaN] = stamp.slice(0, -1).split(':').map(Number);
    counts.entries += 1;
    if (n > reader.last + 1) counts.gaps += 1;
    else if (n <= reader.last) counts.doubled += 1;
    reader.last = Math.max(reader.last, n);
    // Of what was there before the connection only the order counts.
    if (BigInt(us) * 1000n > reader.liveSince) latency.add(Number(now / 1000n) / 1000 - us / 1000);
  }
}

function refuse(line: string): void {
  counts.refused += 1;
  if (counts.refused === 1) process.stderr.write(`a reader was refused: ${line.trim()}\n`);
}

const drop = ({ socket }: Reader): void => void socket.removeAllListeners('close').destroy();

/** Spread evenly over `overMs`; each that comes back drops its connection at the moment it does. */
async function openAll(all: readonly Reader[], overMs: number, isAgain = false): Promise<void> {
  const begun = performance.now();
  for (let done = 0; done < all.length;) {
    const due = Math.min(all.length, ((performance.now() - begun) / overMs) * all.length);
    for (; done < due; done += 1) {
      const reader = all[done];
      if (reader === undefined) continue;
      if (isAgain) drop(reader);
      open(reader);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function report(): ReaderReport {
  const said = {
    ...counts,
    open: readers.filter(({ isOpen }) => isOpen).length,
    waiting: readers.filter(({ askedAt }) => !Number.isNaN(askedAt)).length,
    latencyMs: latency.data(),
    firstEventMs: firstEvent.data(),
    lastSeen: readers.reduce((sum, { last }) => sum + last, 0),
  };
  return said;
}

async function obey(task: ReaderTask): Promise<void> {
  switch (task.do) {
    case 'open': {
      [port, token] = [task.port, task.token];
      const fresh = task.paths.map((path) => ({
        path,
        isStalled: task.isStalled,
        last: 0,
        rest: '',
        askedAt: NaN,
        isOpen: false,
        liveSince: NEVER,
        socket: undefined as unknown as Socket,
      }));
      readers.push(...fresh);
      await openAll(fresh, task.overMs);
      break;
    }
    case 'reconnect': {
      await openAll(readers.slice(0, task.count), task.overMs, true);
      break;
    }
    case 'forget':
      latency = new Histogram();
      firstEvent = new Histogram();
      counts = { entries: 0, gaps: 0, doubled: 0, closed: 0, refused: 0 };
      break;
    case 'close':
      readers.forEach(drop);
      readers = [];
      break;
    case 'report':
      break;
  }
  process.send?.(report());
}

process.on('message', (task: ReaderTask) => void obey(task));
process.once('disconnect', () => process.exit(0));
