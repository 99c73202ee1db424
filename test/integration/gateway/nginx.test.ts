// Streams behind a real nginx. No clock: each frame is written only once the one before has come out at the other end, so
// a proxy that holds one back stands still, and the test with it.
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { findNginx, startNginx } from '../../../bench/proxy/nginx.ts';
import { readStream } from '../../../bench/proxy/stream-client.ts';
import { frame, HEARTBEAT, openEventStream } from '../../../gateway/sse.ts';
import { ROOT } from '../../helpers/test-home.ts';
import type { RunningNginx, Site } from '../../../bench/proxy/nginx.ts';
import type { StreamAnswer } from '../../../bench/proxy/stream-client.ts';

const NUM_FRAMES = 20;
const STALL_MS = 2000;

/** Streams frames as the gateway does, one for each `next`. */
interface Source {
  readonly url: string;
  next: () => void;
  close(): Promise<void>;
}

async function startSource(): Promise<Source> {
  const app = express();
  const source = { url: '', next: (): void => undefined };
  app.get('/json', (_request, response) => void response.json({ text: 'word '.repeat(2000) }));
  app.get('/stream', (_request, response) => {
    openEventStream(response);
    let n = 0;
    source.next = () => {
      n += 1;
      response.write(n === 1 ? HEARTBEAT : frame(n - 1, 'token', { text: `word ${n}` }));
      if (n > NUM_FRAMES) response.end();
    };
    source.next();
  });
  const server: Server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(source, { url, close });
}

(findNginx() === null ? describe.skip : describe)('an event stream behind nginx', () => {
  let source: Source;
  const chain: RunningNginx[] = [];
  beforeEach(async () => {
    source = await startSource();
  });
  afterEach(async () => {
    await source.close();
    for (const each of chain.splice(0)) await each.stop();
  });

  async function behind(layers: readonly Site[]): Promise<string> {
    for (const layer of layers)
      chain.push(await startNginx(ROOT, layer, chain.at(-1)?.url ?? source.url));
    return chain.at(-1)?.url ?? source.url;
  }

  /** True when every frame came before the next one was written; false when one did not come. */
  async function comesFrameByFrame(url: string, isHttp2: boolean): Promise<boolean> {
    let numFrames = 0;
    let answer: StreamAnswer | undefined;
    let timer: NodeJS.Timeout | undefined;
    const stalled = new Promise<'stalled'>((resolve) => {
      timer = setTimeout(() => resolve('stalled'), STALL_MS);
    });
    const seen = (): void => {
      timer?.refresh();
      source.next();
    };
    const onFrame = (): void => {
      numFrames += 1;
      if (numFrames < NUM_FRAMES) seen();
    };
    const stream = readStream({ url: `${url}/stream`, isHttp2 }, onFrame, seen, (each) => {
      answer = each;
    }).catch(() => 'broken' as const);
    const outcome = await Promise.race([stream, stalled]);
    clearTimeout(timer);
    if (outcome === 'stalled') return false;
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'cache-control': 'no-cache, no-transform' },
    });
    expect(answer?.headers['content-encoding']).toBeUndefined();
    return numFrames === NUM_FRAMES;
  }

  it.each<[string, Site[], boolean]>([
    ['a bare configuration, by the header alone', ['default'], false],
    ['our configuration', ['ours'], false],
    ['our configuration over HTTP/2', ['ours'], true],
    ['our configuration, two deep', ['ours', 'ours'], false],
    ['our configuration, two deep, over HTTP/2', ['ours', 'ours'], true],
    ['our configuration behind a bare one', ['ours', 'default'], false],
  ])('comes frame by frame, uncompressed, through %s', async (_name, layers, isHttp2) => {
    expect(await comesFrameByFrame(await behind(layers), isHttp2)).toBe(true);
  });

  it('stands still behind two bare configurations, which is why ours hands the header on', async () => {
    expect(await comesFrameByFrame(await behind(['default', 'default']), false)).toBe(false);
  });

  it('leaves JSON to be compressed', async () => {
    const url = await behind(['ours']);
    let answer: StreamAnswer | undefined;
    await readStream(
      { url: `${url}/json`, isHttp2: true },
      () => undefined,
      undefined,
      (each) => {
        answer = each;
      },
    );
    expect(answer?.headers['content-encoding']).toBe('gzip');
  });
});
