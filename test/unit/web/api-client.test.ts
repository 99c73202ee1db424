import { createApiClient } from '../../../web/src/api-client.ts';

interface Sent {
  readonly path: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: unknown;
}

function clientOf(answer: () => Response | Error): {
  api: ReturnType<typeof createApiClient>;
  sent: Sent[];
} {
  const sent: Sent[] = [];
  const fetchImpl = (async (path: string, init: RequestInit) => {
    const { method = 'GET', headers, body } = init;
    sent.push({
      path,
      method,
      headers: new Headers(headers),
      body: typeof body === 'string' ? (JSON.parse(body) as unknown) : null,
    });
    const made = answer();
    if (made instanceof Error) throw made;
    return made;
  }) as unknown as typeof fetch;
  return { api: createApiClient(() => 'secret', fetchImpl), sent };
}

const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers });
const signal = new AbortController().signal;

describe('api client', () => {
  it('sends the bearer token and the key of a turn', async () => {
    const { api, sent } = clientOf(() => new Response('', { status: 200 }));
    await api.postTurn(
      { conversationId: 'a/b', body: { role: 'user', content: 'hi' }, idempotencyKey: 'k' },
      signal,
    );
    const [request] = sent;
    expect(request).toMatchObject({
      method: 'POST',
      path: '/v1/conversations/a%2Fb/turns',
      body: { role: 'user', content: 'hi' },
    });
    expect(Object.fromEntries(request?.headers ?? [])).toEqual({
      authorization: 'Bearer secret',
      accept: 'text/event-stream',
      'content-type': 'application/json',
      'idempotency-key': 'k',
    });
  });

  it('names the last event it saw when it resumes, and none from the start', async () => {
    const { api, sent } = clientOf(() => new Response('', { status: 200 }));
    await api.resumeTurn({ conversationId: 'c', turnId: 't', lastEventId: '7' }, signal);
    await api.resumeTurn({ conversationId: 'c', turnId: 't', lastEventId: null }, signal);
    expect(sent.map(({ headers }) => headers.get('Last-Event-ID'))).toEqual(['7', null]);
    expect(sent[0]?.path).toBe('/v1/conversations/c/turns/t/stream');
  });

  it('rejects with the code, the words and the delay of a refusal', async () => {
    const error = { code: 'rate_limited', message: 'Slowly.', retry_after: 9 };
    const { api } = clientOf(() => json(429, { error }, { 'Retry-After': '10' }));
    await expect(api.models()).rejects.toMatchObject({
      ...refusal(429, 'rate_limited', 'Slowly.'),
      retryAfterSeconds: 9,
      isTemporary: true,
    });
  });

  it('takes the delay from the header when the body has none', async () => {
    const { api } = clientOf(() =>
      json(503, { error: { code: 'overloaded', message: 'Busy.' } }, { 'Retry-After': '4' }),
    );
    await expect(api.models()).rejects.toMatchObject({ retryAfterSeconds: 4 });
  });

  it('names the running turn of a conflict', async () => {
    const error = { code: 'turn_conflict', message: 'Running.', turn_id: 't' };
    const { api } = clientOf(() => json(409, { error }));
    await expect(api.models()).rejects.toMatchObject({ turnId: 't', isTemporary: false });
  });

  it('makes do with an answer that is not ours', async () => {
    const { api } = clientOf(() => new Response('<html>Bad gateway', { status: 502 }));
    await expect(api.models()).rejects.toMatchObject({
      code: 'http_502',
      retryAfterSeconds: null,
      isTemporary: true,
    });
  });

  it('says that nothing answered when fetch fails', async () => {
    const { api } = clientOf(() => new TypeError('Failed to fetch'));
    await expect(api.models()).rejects.toMatchObject({ status: 0, isUnreachable: true });
  });

  it('pages by the cursor that the service gave', async () => {
    const { api, sent } = clientOf(() => json(200, { conversations: [], next_cursor: null }));
    await api.conversations(null);
    await api.conversations('a+b');
    expect(sent.map(({ path }) => path)).toEqual([
      '/v1/conversations?limit=30',
      '/v1/conversations?limit=30&before=a%2Bb',
    ]);
  });
});

function refusal(status: number, code: string, message: string): object {
  return { status, code, message };
}
