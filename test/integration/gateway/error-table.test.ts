// Every route of the table × {no token, bad token, foreign id, malformed body, oversize body, unknown field, other method}.
import { connect } from 'node:net';
import { Runtime } from '@temporalio/worker';
import { ROUTES } from '../../../gateway/route-table.ts';
import type { RouteRow } from '../../../gateway/route-table.ts';
import { MAX_BODY_BYTES, startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { newConversation } from '../../helpers/turn-client.ts';

let harness: GatewayHarness;
let gateway: string;
let foreign: string;
let own: string;

beforeAll(async () => {
  harness = await startGatewayHarness();
  gateway = await harness.startGateway();
  own = await newConversation({ gateway, token: harness.tokens.paid });
  foreign = await newConversation({ gateway, token: harness.tokens.enterprise });
}, 60_000);
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const PRIVATE = ROUTES.filter(({ needsToken }) => needsToken);
const WITH_ID = PRIVATE.filter(({ path }) => path.includes(':'));
const WITH_BODY = PRIVATE.filter(({ body }) => body !== undefined);
const name = ({ method, path }: RouteRow): string => `${method.toUpperCase()} ${path}`;

interface Sent {
  readonly token?: string | null;
  readonly conversation?: string;
  readonly user?: string;
  readonly body?: string;
  readonly type?: string;
  readonly method?: string;
}

async function send(
  route: RouteRow,
  sent: Sent = {},
): Promise<{ status: number; code: string | undefined; text: string; headers: Headers }> {
  const path = route.path
    .replace(':id', sent.conversation ?? own)
    .replace(':turn', '01900000-0000-7000-8000-000000000000')
    .replace(':user', sent.user ?? harness.users.paid);
  const token = sent.token === undefined ? harness.tokens.paid : sent.token;
  const response = await fetch(gateway + path, {
    method: sent.method ?? route.method.toUpperCase(),
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(sent.body === undefined ? {} : { 'content-type': sent.type ?? 'application/json' }),
    },
    ...(sent.body === undefined ? {} : { body: sent.body }),
  });
  const text = await response.text();
  const json = text === '' ? {} : (JSON.parse(text) as { error?: { code?: string } });
  return { status: response.status, code: json.error?.code, text, headers: response.headers };
}

/** A body that the route takes, so that only the thing under test is wrong. */
function goodBody(route: RouteRow): string | undefined {
  if (route.body === undefined) return undefined;
  if (route.path.endsWith('/turns')) return '{"role":"user","content":"x"}';
  if (route.path.endsWith('/memory')) return '{"add":[]}';
  if (route.path.endsWith('/settings')) return '{"memory_enabled":true}';
  return route.method === 'patch' ? '{"title":"x"}' : '{}';
}

const bodyOf = (route: RouteRow): Sent => {
  const body = goodBody(route);
  return body === undefined ? {} : { body };
};

describe('the error table', () => {
  it.each(PRIVATE.map((route) => [name(route), route] as const))(
    '%s refuses who has no token, a bad one, or another scheme',
    async (_name, route) => {
      for (const token of [
        null,
        'wrong',
        "x' or '1'='1",
        'ü'.normalize('NFD').replace(/[^\x20-\x7e]/g, ''),
      ]) {
        const answer = await send(route, { ...bodyOf(route), token });
        expect(answer).toMatchObject({ status: 401, code: 'unauthenticated' });
        expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      }
    },
  );

  it.each(WITH_ID.map((route) => [name(route), route] as const))(
    '%s answers the same 404 for foreign, absent and impossible ids',
    async (_name, route) => {
      const isUser = route.path.includes(':user');
      const code = isUser ? 'user_not_found' : 'conversation_not_found';
      const ids = [
        isUser ? harness.users.enterprise : foreign,
        '01900000-0000-7000-8000-000000000000',
        'nonsense',
        '%00',
        '..%2f..',
      ];
      const answers = await Promise.all(
        ids.map((id) =>
          send(route, { ...bodyOf(route), ...(isUser ? { user: id } : { conversation: id }) }),
        ),
      );
      for (const answer of answers)
        expect(answer).toMatchObject({ status: 404, code, text: answers[0]?.text });
    },
  );

  it.each(WITH_BODY.map((route) => [name(route), route] as const))(
    '%s refuses a malformed, oversize, foreign or wrong body with its own code',
    async (_name, route) => {
      expect(await send(route, { body: '{"role":' })).toMatchObject({
        status: 400,
        code: 'invalid_json',
      });
      expect(await send(route, { body: '[]' })).toMatchObject({
        status: 400,
        code: 'invalid_request',
      });
      expect(await send(route, { body: '{"surprise":1}' })).toMatchObject({
        status: 400,
        code: 'invalid_request',
      });
      expect(await send(route, { body: '{}', type: 'text/plain' })).toMatchObject({
        status: 415,
        code: 'unsupported_media_type',
      });
      expect(
        await send(route, { body: JSON.stringify({ title: 'x'.repeat(MAX_BODY_BYTES) }) }),
      ).toMatchObject({ status: 413, code: 'payload_too_large' });
    },
  );

  it.each(ROUTES.map((route) => [name(route), route] as const))(
    '%s names its methods to who uses another',
    async (_name, route) => {
      const answer = await send(route, { method: 'PUT', body: '{}' });
      expect(answer).toMatchObject({ status: 405, code: 'method_not_allowed' });
      expect(answer.headers.get('allow')).toContain(route.method.toUpperCase());
    },
  );

  it.each([
    ['an unknown role', { role: 'system', content: 'x' }, 'role'],
    ['no content', { role: 'user' }, 'content'],
    ['NUL in the text', { role: 'user', content: 'a\0b' }, 'content'],
    ['an unknown model', { role: 'user', content: 'x', model: 'nope' }, 'model'],
    ['a temperature out of range', { role: 'user', content: 'x', temperature: 3 }, 'temperature'],
    ['max_tokens of zero', { role: 'user', content: 'x', max_tokens: 0 }, 'max_tokens'],
    ['a fractional seed', { role: 'user', content: 'x', seed: 0.5 }, 'seed'],
    ['a top_p of nearly nothing', { role: 'user', content: 'x', top_p: 1e-50 }, 'top_p'],
    ['a negative top_k', { role: 'user', content: 'x', top_k: -1 }, 'top_k'],
    ['a min_p above one', { role: 'user', content: 'x', min_p: 1.1 }, 'min_p'],
    [
      'a repetition_penalty of zero',
      { role: 'user', content: 'x', repetition_penalty: 0 },
      'repetition_penalty',
    ],
    [
      'a frequency_penalty above two',
      { role: 'user', content: 'x', frequency_penalty: 2.1 },
      'frequency_penalty',
    ],
    [
      'a presence_penalty that is text',
      { role: 'user', content: 'x', presence_penalty: '1' },
      'presence_penalty',
    ],
    ['a logit_bias that is a list', { role: 'user', content: 'x', logit_bias: [1] }, 'logit_bias'],
    [
      'a logit_bias beyond 100',
      { role: 'user', content: 'x', logit_bias: { '5': 101 } },
      'logit_bias.5',
    ],
    [
      'a logit_bias of what is no token id',
      { role: 'user', content: 'x', logit_bias: { '05': 1 } },
      'logit_bias.05',
    ],
    [
      '301 biases',
      {
        role: 'user',
        content: 'x',
        logit_bias: Object.fromEntries(Array.from({ length: 301 }, (_, id) => [id, 1])),
      },
      'logit_bias',
    ],
    [
      'a stop string of 101 characters',
      { role: 'user', content: 'x', stop: ['a'.repeat(101)] },
      'stop.0',
    ],
    ['an empty stop string', { role: 'user', content: 'x', stop: [''] }, 'stop.0'],
    ['five stop strings', { role: 'user', content: 'x', stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    ['n beyond four', { role: 'user', content: 'x', n: 5 }, 'n'],
  ])('POST turns refuses %s and names the field', async (_name, body, param) => {
    const route = ROUTES.find(({ path, method }) => path.endsWith('/turns') && method === 'post');
    if (route === undefined) throw new Error('no such route');
    const answer = await send(route, { body: JSON.stringify(body) });
    expect(answer).toMatchObject({ status: 400, code: 'invalid_request' });
    expect(JSON.parse(answer.text)).toMatchObject({ error: { param } });
  });

  it('refuses reasoning on the free tier, bad limits and foreign cursors', async () => {
    const free = { gateway, token: harness.tokens.free };
    const id = await newConversation(free);
    const asked = await fetch(`${gateway}/v1/conversations/${id}/turns`, {
      method: 'POST',
      headers: { authorization: `Bearer ${free.token}`, 'content-type': 'application/json' },
      body: '{"role":"user","content":"x","reasoning":true}',
    });
    expect(asked.status).toBe(403);
    for (const query of [
      'limit=0',
      'limit=101',
      'limit=x',
      'limit=1.5',
      'limit=',
      'before=garbage',
      'limit=5&limit=6',
      'surprise=1',
    ]) {
      const answer = await fetch(`${gateway}/v1/conversations?${query}`, {
        headers: { authorization: `Bearer ${harness.tokens.paid}` },
      });
      expect([query, answer.status]).toEqual([query, 400]);
    }
  });

  it('answers unknown routes and oversized headers in the same form', async () => {
    expect(
      (
        await fetch(`${gateway}/v1/nothing`, {
          headers: { authorization: `Bearer ${harness.tokens.paid}` },
        })
      ).status,
    ).toBe(404);
    const { hostname, port } = new URL(gateway);
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(Number(port), hostname, () =>
        socket.write(`GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Big: ${'a'.repeat(40_000)}\r\n\r\n`),
      );
      socket
        .on('data', (chunk) => (text += chunk.toString()))
        .on('close', () => resolve(text))
        .on('error', () => undefined);
    });
    expect(answer).toContain('431');
    expect(answer).toContain('headers_too_large');
  });

  it('shows the limits on every answer to a caller', async () => {
    for (const route of PRIVATE.filter(({ method }) => method === 'get')) {
      const { headers } = await send(route);
      for (const what of ['limit', 'remaining', 'reset'])
        expect(headers.get(`x-ratelimit-${what}-requests`)).toMatch(/^\d+$/);
    }
  });

  it('describes every route in its OpenAPI document', async () => {
    const document = (await (await fetch(`${gateway}/openapi.json`)).json()) as {
      openapi: string;
      paths: Record<string, Record<string, unknown>>;
    };
    expect(document.openapi).toBe('3.1.0');
    for (const { path, method } of ROUTES)
      expect(document.paths[path.replace(/:(\w+)/g, '{$1}')]).toHaveProperty(method);
  });
});
