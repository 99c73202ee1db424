// Readers that do not keep up, on real sockets of the machine (Unix ones: their buffers are small) and a log in memory.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import type { Response } from 'express';
import { createParser } from 'eventsource-parser';
import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { TurnId, UserId } from '../../../contracts/ids.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { GatewayDeps } from '../../../gateway/deps.ts';
import type { ReadersState, TurnReaders } from '../../../contracts/turn-log.ts';
import { ReaderProgress } from '../../../gateway/reader-progress.ts';
import { OpenStreams } from '../../../gateway/open-streams.ts';
import { relayEvents } from '../../../gateway/turn-relay.ts';
import { createMetrics } from '../../../process/metrics.ts';
import { MemoryTurnLog } from '../../../redis/memory-turn-log.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const CONVERSATION = newConversationId();
const USER = 'someone' as UserId;
/** Larger than the two buffers of a Unix socket. */
const NUM_ENTRIES = 200;
const ENTRY = 'x'.repeat(8 * 1024);
const TEXT = ENTRY.repeat(NUM_ENTRIES);

class CountingLog extends MemoryTurnLog {
  largestRead = 0;

  override async read(
    turnId: TurnId,
    after: number,
    limit?: number,
  ): Promise<readonly NumberedEntry[] | 'missing'> {
    const entries = await super.read(turnId, after, limit);
    this.largestRead = Math.max(this.largestRead, entries.length);
    return entries;
  }
}

interface Reader {
  readonly response: IncomingMessage;
  /** Reads to the connection's end; returns the text and the last number. */
  rest(): Promise<{ text: string; last: number; isDone: boolean }>;
}

describe('readers that do not keep up', () => {
  let folder: string;
  let server: Server;
  let log: CountingLog;
  let turnId: TurnId;
  /** The server's side of each stream, in the order they came. */
  let responses: Response[];
  /** What the worker is told of the turn's readers here. */
  let told: ReadersState[];
  let pool: string;
  let settings: { waitingBytes: number; stallMs: number };

  beforeEach(async () => {
    settings = { waitingBytes: 64 * 1024 * 1024, stallMs: 60_000 };
    told = [];
    pool = 'p';
    log = new CountingLog();
    responses = [];
    turnId = newTurnId();
    await log.create(
      {
        turn_id: turnId,
        user_turn_id: 'u',
        conversation_id: CONVERSATION,
        model: 'm',
        served_model: 's',
        pool: 'p',
      },
      { userId: 'u' as UserId, conversationId: CONVERSATION },
    );
  });

  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    rmSync(folder, { recursive: true });
  });

  async function listen(): Promise<OpenStreams> {
    folder = mkdtempSync(join(tmpdir(), 'colloquy-'));
    const metrics = createMetrics();
    const streams = new OpenStreams(metrics, {
      heartbeatMs: 60_000,
      streamBufferBytes: settings.waitingBytes,
    });
    const readers: TurnReaders = {
      report: async (_turnId, _gateway, state) => void told.push(state),
      stateOf: async () => 'none',
    };
    const readerProgress = new ReaderProgress({
      ...{ readers, gateway: 'g', onError: () => undefined },
      hasLookAhead: (name) => name === 'p',
    });
    const deps = {
      turnLog: log,
      stores: { primaryOf: () => undefined },
      metrics,
      streams,
      keys: { watch: () => () => undefined },
      grace: { arrived: () => undefined, left: () => undefined },
      readerProgress,
      http: { streamStallMs: settings.stallMs },
    } as unknown as GatewayDeps;
    const app = express().get('/:after', async (asked, response) => {
      responses.push(response);
      response.locals['keyHash'] = Buffer.of(1);
      const after = Number(asked.params.after);
      const turn = { userId: USER, conversationId: CONVERSATION, turnId, pool, after };
      await relayEvents(deps, response, turn);
    });
    server = createServer(app);
    server.listen(join(folder, 'socket'));
    await once(server, 'listening');
    return streams;
  }

  /** Connects and reads nothing until rest(). */
  async function connect(after = 0): Promise<Reader> {
    const sent = request({ socketPath: join(folder, 'socket'), path: `/${after}`, agent: false });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.setEncoding('utf8');
    sent.on('error', () => undefined);
    response.on('error', () => undefined);
    const rest: Reader['rest'] = async () => {
      let [text, last, isDone] = ['', after, false];
      const parser = createParser({
        onEvent: ({ id, event, data }) => {
          last = Number(id);
          if (event === 'token') text += (JSON.parse(data) as { text: string }).text;
          if (event === 'done') isDone = true;
        },
      });
      response.on('data', (chunk: string) => parser.feed(chunk));
      if (!response.closed) await new Promise((resolve) => response.once('close', resolve));
      return { text, last, isDone };
    };
    return { response, rest };
  }

  async function append(from: number, count: number): Promise<void> {
    for (let n = from; n < from + count; n += 1)
      await log.append(turnId, 1001, [{ n, type: 'token', data: { text: ENTRY, ids: [n] } }]);
  }

  async function end(): Promise<void> {
    const usage = { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0, cost_usd: 0 };
    await log.end(turnId, [
      { type: 'end', data: { turn_id: turnId, finish_reason: 'stop', usage } },
    ]);
  }

  const waiting = (index: number): number => responses[index]?.writableLength ?? NaN;

  it('hold a bounded number of bytes however much is written meanwhile, and get all of it once they read', async () => {
    await listen();
    const reader = await connect();
    await append(2, NUM_ENTRIES);
    await end();
    await waitFor('the socket is full', () => waiting(0) > 0);
    expect(waiting(0)).toBeLessThan(160 * 1024);
    expect(await reader.rest()).toEqual({ text: TEXT, last: NUM_ENTRIES + 2, isDone: true });
    expect(log.largestRead).toBeLessThanOrEqual(128);
  });

  it('are told to the worker while all of them take nothing, with the entry that the furthest has', async () => {
    await listen();
    const reader = await connect();
    const other = await connect();
    await append(2, NUM_ENTRIES);
    await waitFor('both are stalled', () => responses.every((each) => each.writableNeedDrain));
    await waitFor('it is told', () => typeof told.at(-1) === 'number');
    expect(told.slice(0, -1)).not.toContainEqual(expect.any(Number));
    expect(Number(told.at(-1))).toBeLessThan(NUM_ENTRIES);
    const ended = reader.rest();
    await waitFor('one takes again', () => told.at(-1) === 'flowing');
    await end();
    await Promise.all([ended, other.rest()]);
    await waitFor('all have left', () => told.at(-1) === 'none');
  });

  it('are not told of where nobody looks ahead', async () => {
    pool = 'q';
    await listen();
    await connect();
    await append(2, NUM_ENTRIES);
    await waitFor('it is stalled', () => responses[0]?.writableNeedDrain === true);
    expect(told).toEqual([]);
  });

  it('get a text far larger than what may wait for them, whole, on one connection', async () => {
    settings.waitingBytes = 512 * 1024;
    await append(2, NUM_ENTRIES);
    await end();
    await listen();
    const reader = await connect();
    await waitFor('the socket is full', () => waiting(0) > 0);
    expect(waiting(0)).toBeLessThan(160 * 1024);
    expect(await reader.rest()).toEqual({ text: TEXT, last: NUM_ENTRIES + 2, isDone: true });
  });

  it('are closed when they take nothing for too long, and resume behind the last event they have', async () => {
    settings.stallMs = 100;
    await append(2, NUM_ENTRIES);
    await end();
    await listen();
    const stalled = await connect();
    await waitFor('it is closed', () => responses[0]?.destroyed === true);
    const first = await stalled.rest();
    expect(first.isDone).toBe(false);
    expect(first.text.length).toBeLessThan(TEXT.length);
    const second = await (await connect(first.last)).rest();
    expect([first.text + second.text === TEXT, second.isDone]).toEqual([true, true]);
  });

  it('are closed, the longest stalled first, when too much waits for all of them together', async () => {
    settings.waitingBytes = 300 * 1024;
    await append(2, NUM_ENTRIES);
    const streams = await listen();
    for (let index = 0; index < 5; index += 1) {
      await connect();
      await waitFor('it is stalled', () => responses[index]?.writableNeedDrain === true);
    }
    await waitFor('the first is closed', () => responses[0]?.destroyed === true);
    expect(responses.at(-1)?.destroyed).toBe(false);
    expect(streams.waitingBytes).toBeLessThanOrEqual(300 * 1024);
    expect(streams.waitingBytes).toBeGreaterThan(0);
  });

  it('leave nothing that is counted when they go', async () => {
    await append(2, NUM_ENTRIES);
    const streams = await listen();
    const reader = await connect();
    await waitFor('it is stalled', () => streams.waitingBytes > 0);
    reader.response.destroy();
    await waitFor('it is gone', () => streams.waitingBytes === 0);
  });
});
