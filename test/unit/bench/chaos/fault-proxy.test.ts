// The fault proxy between plain sockets: each fault does to the bytes what it says, and healing ends it.
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { once } from 'node:events';
import { FaultProxy } from '../../../helpers/fault-proxy.ts';
import { waitFor } from '../../../helpers/wait-for.ts';

let echo: Server;
let proxy: FaultProxy;
const sockets: Socket[] = [];

beforeEach(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  proxy = await FaultProxy.listen({
    host: '127.0.0.1',
    port: (echo.address() as AddressInfo).port,
  });
});

afterEach(async () => {
  await proxy.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => echo.close(resolve));
});

interface Client {
  readonly socket: Socket;
  received(): string;
  /** Name of the error that closed it, `closed` without one; null while it is open. */
  fate(): string | null;
}

async function client(): Promise<Client> {
  const socket = connect({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
  sockets.push(socket);
  let [text, fate]: [string, string | null] = ['', null];
  socket.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  socket.on('error', (error: NodeJS.ErrnoException) => (fate = error.code ?? 'error'));
  socket.on('close', () => (fate ??= 'closed'));
  await once(socket, 'connect');
  return { socket, received: () => text, fate: () => fate };
}

async function connected(): Promise<Client> {
  const one = await client();
  one.socket.write('hello ');
  await waitFor('the echo comes', () => one.received() === 'hello ');
  return one;
}

describe('without a fault', () => {
  it('passes every byte of both directions in order, whatever their number', async () => {
    const { socket, received } = await client();
    const sent = Array.from({ length: 200_000 }, (_, index) => `${index};`).join('');
    socket.end(sent);
    await waitFor('everything came back', () => received().length === sent.length);
    expect(received()).toBe(sent);
  });

  it('passes an end on, and lets the other direction finish', async () => {
    const { socket, received, fate } = await client();
    socket.end('last words');
    await waitFor('it is closed', () => fate() !== null);
    expect([received(), fate()]).toEqual(['last words', 'closed']);
    await waitFor('nothing is left', () => proxy.numConnections === 0);
  });

  it('resets a client whose service is not there, and one whose service goes', async () => {
    const one = await connected();
    for (const socket of sockets.filter((each) => each !== one.socket)) socket.resetAndDestroy();
    await waitFor('the client is told', () => one.fate() === 'ECONNRESET');
    await new Promise((resolve) => echo.close(resolve));
    const other = await client();
    await waitFor('the client is told', () => other.fate() !== null);
    expect(other.fate()).toBe('ECONNRESET');
  });
});

describe('with a fault', () => {
  it('latency: everything comes, in order, later', async () => {
    const { socket, received } = await connected();
    proxy.setFault({ kind: 'latency', ms: 60, jitterMs: 40 });
    const since = performance.now();
    for (const word of ['a', 'b', 'c', 'd', 'e']) socket.write(word);
    await waitFor('all came', () => received() === 'hello abcde');
    // Twice, there and back.
    expect(performance.now() - since).toBeGreaterThanOrEqual(115);
  });

  it('narrow: so many bytes a second', async () => {
    const { socket, received } = await connected();
    proxy.setFault({ kind: 'narrow', bytesPerSecond: 10_000 });
    const since = performance.now();
    socket.write('x'.repeat(2000));
    await waitFor('all came', () => received().length === 2006);
    expect(performance.now() - since).toBeGreaterThanOrEqual(195);
  });

  it('stall: nothing passes, and everything comes when it heals', async () => {
    const { socket, received, fate } = await connected();
    proxy.setFault({ kind: 'stall' });
    socket.write('held');
    const late = await client();
    late.socket.write('new');
    const other = await FaultProxy.listen({ host: '127.0.0.1', port: proxy.port });
    await other.close(); // Some turns of the event loop in which bytes could have passed.
    expect([received(), late.received(), fate()]).toEqual(['hello ', '', null]);
    proxy.setFault(null);
    await waitFor('all came', () => received() === 'hello held' && late.received() === 'new');
  });

  it('half-open: what is sent is lost, nobody is told, and healing resets', async () => {
    const { socket, received, fate } = await connected();
    proxy.setFault({ kind: 'half-open' });
    socket.write('lost');
    await waitFor('it is sent', () => socket.writableLength === 0);
    expect([received(), fate()]).toEqual(['hello ', null]);
    proxy.setFault(null);
    await waitFor('it is reset', () => fate() === 'ECONNRESET');
    expect(received()).toBe('hello ');
    expect((await connected()).received()).toBe('hello ');
  });

  it('reset: every connection ends at once, and new ones are well', async () => {
    const all = [await connected(), await connected()];
    proxy.reset();
    await waitFor('all are reset', () => all.every(({ fate }) => fate() === 'ECONNRESET'));
    expect((await connected()).received()).toBe('hello ');
  });
});
