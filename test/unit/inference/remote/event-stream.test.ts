import net from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { postForEvents } from '../../../../inference/remote/event-stream.ts';
import type { PostOptions } from '../../../../inference/remote/event-stream.ts';
import { openStream, scriptedServer, status, streamOf } from '../../../helpers/scripted-server.ts';
import type { ScriptedServer } from '../../../helpers/scripted-server.ts';

const LONG = { connectMs: 5000, firstEventMs: 5000, betweenEventsMs: 5000 };

let server: ScriptedServer;

afterEach(() => server.close());

function post(address: string, more: Partial<PostOptions> = {}): AsyncGenerator<string> {
  return postForEvents(new URL(`${address}/v1/completions`), {
    headers: {},
    body: '{}',
    timeouts: LONG,
    signal: new AbortController().signal,
    agent: undefined,
    ...more,
  });
}

async function all(events: AsyncIterable<string>): Promise<string[]> {
  const heard: string[] = [];
  for await (const data of events) heard.push(data);
  return heard;
}

describe('postForEvents', () => {
  it('yields each event’s data however its bytes are cut', async () => {
    const events = ['{"text":"é😀"}', 'two\nlines', '[DONE]'];
    const bytes = Buffer.from(
      `: a comment\n\nevent: x\ndata: ${events[0]}\n\nid: 1\r\ndata: two\r\ndata: lines\r\n\r\ndata: [DONE]\n\n`,
    );
    let cuts: number[] = [];
    server = await scriptedServer(async (response) => {
      openStream(response);
      let from = 0;
      for (const to of [...cuts, bytes.length]) {
        await new Promise((resolve) => response.write(bytes.subarray(from, to), resolve));
        await new Promise((resolve) => setImmediate(resolve));
        from = to;
      }
      response.end();
    });
    const anyCuts = fc.uniqueArray(fc.nat(bytes.length), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(anyCuts, async (chosen) => {
        cuts = chosen.toSorted((one, other) => one - other);
        expect(await all(post(server.address))).toEqual(events);
      }),
      { numRuns: 50 },
    );
  });

  it('sends the headers and the body it is given, as JSON', async () => {
    server = await scriptedServer(streamOf('x'));
    await all(post(server.address, { headers: { authorization: 'Bearer k' }, body: '{"é":1}' }));
    expect(server.requests).toMatchObject([
      {
        path: '/v1/completions',
        body: '{"é":1}',
        headers: { authorization: 'Bearer k', 'content-type': 'application/json' },
      },
    ]);
  });

  it.each([
    [429, 'OVERLOADED'],
    [503, 'OVERLOADED'],
    [408, 'OVERLOADED'],
    [400, 'INVALID_REQUEST'],
    [413, 'INVALID_REQUEST'],
    [422, 'INVALID_REQUEST'],
    [401, 'INVARIANT_VIOLATED'],
    [403, 'INVARIANT_VIOLATED'],
    [404, 'INVARIANT_VIOLATED'],
    [500, 'GENERATION_FAILED'],
    [502, 'GENERATION_FAILED'],
    [204, 'INVARIANT_VIOLATED'],
  ])('makes of status %i the code %s, and repeats nothing of the body', async (code, expected) => {
    server = await scriptedServer(status(code));
    const error = await all(post(server.address)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: expected });
    expect(String((error as Error).message)).not.toContain('SECRET');
  });

  it('hands on how long a busy server asks to be left alone', async () => {
    server = await scriptedServer(status(429, { 'retry-after': '7' }));
    await expect(all(post(server.address))).rejects.toMatchObject({ retryAfterSeconds: 7 });
  });

  it('follows no redirect', async () => {
    server = await scriptedServer(status(307, { location: '/elsewhere' }), streamOf('x'));
    await expect(all(post(server.address))).rejects.toMatchObject({ code: 'INVARIANT_VIOLATED' });
    expect(server.requests.map(({ path }) => path)).toEqual(['/v1/completions']);
  });

  it('takes an answer that is no event stream for a wrong address', async () => {
    server = await scriptedServer(status(200, { 'content-type': 'text/html' }));
    await expect(all(post(server.address))).rejects.toMatchObject({ code: 'INVARIANT_VIOLATED' });
  });

  it('calls a server that does not listen overloaded', async () => {
    server = await scriptedServer(streamOf('x'));
    await server.close();
    await expect(all(post(server.address))).rejects.toMatchObject({ code: 'OVERLOADED' });
    server = await scriptedServer(streamOf('x'));
  });

  it('gives up a connection that is not made in time', async () => {
    server = await scriptedServer(streamOf('x'));
    // It accepts and never answers the TLS greeting.
    const silent = net.createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const timeouts = { ...LONG, connectMs: 30 };
    const events = all(post(`https://127.0.0.1:${port}`, { timeouts }));
    await expect(events).rejects.toMatchObject({ code: 'OVERLOADED' });
    silent.close();
  });

  it('gives up a server whose head never comes', async () => {
    server = await scriptedServer(() => undefined);
    const events = all(post(server.address, { timeouts: { ...LONG, firstEventMs: 30 } }));
    await expect(events).rejects.toMatchObject({ code: 'GENERATION_TIMEOUT' });
    await server.requests[0]?.closed;
  });

  it('gives up a server that sends comments and no first event', async () => {
    server = await scriptedServer((response) => {
      openStream(response);
      const comments = setInterval(() => response.write(': alive\n\n'), 5);
      response.once('close', () => clearInterval(comments));
    });
    const events = all(post(server.address, { timeouts: { ...LONG, firstEventMs: 60 } }));
    await expect(events).rejects.toMatchObject({ code: 'GENERATION_TIMEOUT' });
    await server.requests[0]?.closed;
  });

  it('gives up a server that falls silent between events', async () => {
    server = await scriptedServer((response) => void openStream(response).write('data: one\n\n'));
    const heard: string[] = [];
    const timeouts = { ...LONG, betweenEventsMs: 30 };
    const listening = async (): Promise<void> => {
      for await (const data of post(server.address, { timeouts })) heard.push(data);
    };
    await expect(listening()).rejects.toMatchObject({ code: 'GENERATION_TIMEOUT' });
    expect(heard).toEqual(['one']);
    await server.requests[0]?.closed;
  });

  it('tells a stream that breaks off from one that ends', async () => {
    server = await scriptedServer((response) => {
      openStream(response).write('data: one\n\n', () => response.destroy());
    });
    const heard: string[] = [];
    const listening = async (): Promise<void> => {
      for await (const data of post(server.address)) heard.push(data);
    };
    await expect(listening()).rejects.toMatchObject({ code: 'GENERATION_FAILED' });
    expect(heard).toEqual(['one']);
  });

  it('stops at an event without an end', async () => {
    server = await scriptedServer((response) => {
      openStream(response);
      const more = (): void => {
        if (!response.destroyed) response.write(`data: ${'x'.repeat(65_536)}\n`, more);
      };
      more();
    });
    await expect(all(post(server.address))).rejects.toMatchObject({ code: 'GENERATION_FAILED' });
    await server.requests[0]?.closed;
  });

  it('closes the connection when it is aborted', async () => {
    server = await scriptedServer((response) => void openStream(response).write('data: one\n\n'));
    const abort = new AbortController();
    const events = post(server.address, { signal: abort.signal });
    expect(await events.next()).toEqual({ done: false, value: 'one' });
    abort.abort();
    await expect(events.next()).rejects.toThrow();
    await server.requests[0]?.closed;
  });

  it('closes the connection when its reader leaves', async () => {
    server = await scriptedServer((response) => void openStream(response).write('data: one\n\n'));
    for await (const data of post(server.address)) {
      expect(data).toBe('one');
      break;
    }
    await server.requests[0]?.closed;
  });
});
