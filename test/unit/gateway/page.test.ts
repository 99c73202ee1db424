import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { createPage } from '../../../gateway/page.ts';

describe('createPage', () => {
  let server: Server;
  let origin: string;

  beforeAll(async () => {
    const app = express();
    app.use(createPage());
    app.use((_request, response) => void response.status(404).send('not the page'));
    server = createServer(app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(() => new Promise((resolve) => server.close(resolve)));

  const get = (path: string): Promise<Response> =>
    fetch(`${origin}${path}`, { headers: { Connection: 'close' } });

  it.each([
    ['/', 'text/html'],
    ['/c/0199aaaa-0000-7000-8000-000000000001', 'text/html'],
    ['/style/base.css', 'text/css'],
    ['/vendor/marked.js', 'text/javascript'],
    ['/vendor/dompurify.js', 'text/javascript'],
    ['/favicon.svg', 'image/svg+xml'],
  ])('serves %s as %s, under the strict policy', async (path, type) => {
    const response = await get(path);
    expect([response.status, response.headers.get('content-type')?.split(';')[0]]).toEqual([
      200,
      type,
    ]);
    expect(response.headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; " +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('referrer-policy')).toBe('no-referrer');
    expect(response.headers.get('cache-control')).toBe('no-cache');
  });

  it('serves every script and style that the page names', async () => {
    const html = await (await get('/')).text();
    const named = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path = '']) => path);
    expect(named).toContain('/app/main.js');
    const answers = await Promise.all(named.map(async (path) => [path, (await get(path)).status]));
    expect(answers).toEqual(named.map((path) => [path, 200]));
  });

  it('has no inline script or style, and nothing from elsewhere', async () => {
    const html = await (await get('/')).text();
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|https?:|<script(?![^>]*\ssrc=)/i);
  });

  it('leaves all else to the next router', async () => {
    for (const path of [
      '/v1/models',
      '/app/absent.js',
      '/style/',
      '/vendor/',
      '/app/..%2f..%2fpackage.json',
    ])
      expect([path, (await get(path)).status]).toEqual([path, 404]);
  });
});
