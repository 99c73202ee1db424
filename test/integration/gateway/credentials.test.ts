// Credentials: nothing but a valid token in its one place lets anybody in. COLLOQUY_FUZZ (default 500) is how many of each
// kind are tried; the bar is measured with 10,000.
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { Runtime } from '@temporalio/worker';
import fc from 'fast-check';
import { rows } from '../../../postgres/pool.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { gateAt } from '../../helpers/gate.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { newConversation, resumeTurn, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller, TurnStream } from '../../helpers/turn-client.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const NUM_RUNS = Number(process.env['COLLOQUY_FUZZ'] ?? 500);
const LIMIT_MS = 30_000 + NUM_RUNS * 20;

let harness: GatewayHarness;
let gateway: URL;
let token: string;

beforeAll(async () => {
  harness = await startGatewayHarness();
  gateway = new URL(await harness.startGateway());
  token = harness.tokens.paid;
}, 60_000);
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

/** The status of a request whose bytes are sent as they are; 0 when the server closes without an answer. */
function statusOf(head: string, body = ''): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(gateway.port), gateway.hostname);
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => {
      received += data;
      if (received.includes('\r\n')) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(received)?.[1] ?? 0)));
    socket.write(`${head}\r\nhost: x\r\nconnection: close\r\n\r\n${body}`, 'latin1');
  });
}

const lineOf = (value: string): string =>
  `GET /v1/conversations HTTP/1.1\r\nauthorization:${value}`;

/** Refused: as unknown, or as no HTTP at all. */
const REFUSALS = [0, 400, 401, 431];

/** Of a value that lets its sender in (RFC 6750 §2.1: the scheme's case is free). */
const isValid = (value: string): boolean =>
  /^bearer +/i.test(value.trim()) && value.trim().replace(/^bearer +/i, '') === token;

/** Near to a valid value, or far from any. Latin-1 without line ends: those make another header, which is another test. */
function headers(): fc.Arbitrary<string> {
  const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
  const junk = fc.string({ unit: byte, maxLength: 40 }).map((text) => text.replace(/[\r\n]/g, ''));
  const near = fc
    .tuple(
      fc.nat(token.length),
      fc.nat(token.length),
      junk,
      fc.constantFrom('', ' ', '\t', ',', '=', ';', '%00', '\0'),
    )
    .map(([from, to, text, glue]) => token.slice(0, from) + glue + text + token.slice(to));
  const changed = fc.constantFrom(
    token.toUpperCase(),
    `${token} ${token}`,
    `${token},${token}`,
    `${token}=`,
    `"${token}"`,
    token.slice(1),
    token.slice(0, -1),
    `${token}' or '1'='1`,
    'x'.repeat(5000),
    '',
  );
  const scheme = fc.constantFrom(
    ' Bearer ',
    ' bearer ',
    ' Basic ',
    ' Digest ',
    ' Token ',
    ' ',
    ' Bearer',
    ' Bearer Bearer ',
    ' BEARER\t',
  );
  return fc
    .tuple(scheme, fc.oneof(near, changed, junk))
    .map(([first, rest]) => first + rest)
    .filter((value) => !isValid(value));
}

it(
  'lets nobody in by any Authorization header but a valid one, and never breaks',
  async () => {
    expect(await statusOf(lineOf(` Bearer ${token}`))).toBe(200);
    await fc.assert(
      fc.asyncProperty(headers(), async (value) => {
        expect(REFUSALS).toContain(await statusOf(lineOf(value)));
      }),
      { numRuns: NUM_RUNS, examples: [[' '], [''], [' Bearer']] },
    );
  },
  LIMIT_MS,
);

it(
  'takes no token and no identity from a query, a cookie, a body or another header',
  async () => {
    const names = [
      'access_token',
      'token',
      'api_key',
      'key',
      'authorization',
      'user_id',
      'user',
      'org_id',
      'tier',
    ];
    const values = [token, harness.users.enterprise, harness.users.paid, 'enterprise', 'admin'];
    const place = fc.constantFrom('query', 'cookie', 'header', 'body');
    const asked = fc.tuple(place, fc.constantFrom(...names), fc.constantFrom(...values));
    await fc.assert(
      fc.asyncProperty(asked, async ([where, key, value]) => {
        const body = JSON.stringify({ [key]: value });
        const own = {
          query: `GET /v1/conversations?${key}=${value} HTTP/1.1`,
          cookie: `GET /v1/conversations HTTP/1.1\r\ncookie: ${key}=${value}`,
          header: `GET /v1/conversations HTTP/1.1\r\nx-${key.replace('_', '-')}: ${value}`,
          body: `POST /v1/conversations HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`,
        }[where];
        expect(await statusOf(own, where === 'body' ? body : '')).toBe(401);
        // With a token of its own, such a body is refused and no other name is believed.
        if (where === 'body')
          expect(await statusOf(`${own}\r\nauthorization: Bearer ${token}`, body)).toBe(400);
      }),
      { numRuns: NUM_RUNS },
    );
  },
  LIMIT_MS,
);

it('ends the streams of a key that is revoked, expires, or whose user is disabled, within two seconds, and nobody else’s', async () => {
  const ends = {
    revoked: `update api_keys set revoked_at = now() where key_hash = $1`,
    expired: `update api_keys set expires_at = now() where key_hash = $1`,
    disabled: `update users set disabled_at = now() where user_id = (select user_id from api_keys where key_hash = $1)`,
  };
  const gate = gateAt(2);
  const stopPool = await harness.turns.startPool(
    'mini',
    fakeServedModel({ reply: 'abcdef', ...gate }),
  );
  try {
    const begin = async (caller: Caller): Promise<{ stream: TurnStream; conversation: string }> => {
      const conversation = await newConversation(caller);
      const stream = await takeTurn(caller, conversation, { content: 'hello' });
      await stream.until(({ event }) => event === 'token');
      return { stream, conversation };
    };
    const free = { gateway: gateway.origin, token: harness.tokens.free };
    const other = await begin(free);
    for (const [how, statement] of Object.entries(ends)) {
      const own = `cq_${how}`;
      const hash = createHash('sha256').update(own).digest();
      await rows(
        harness.turns.db,
        `with made as (insert into users (org_id, name, tier) select org_id, $3, 'free' from users where user_id = $4 returning user_id)
         insert into api_keys (key_hash, key_prefix, user_id) select $1, $2, user_id from made`,
        [hash, own, how, harness.users.free],
      );
      const caller = { gateway: gateway.origin, token: own };
      const { stream, conversation } = await begin(caller);
      const turnId = String(stream.events[0]?.data['turn_id']);
      await rows(harness.turns.db, statement, [hash]);
      const since = performance.now();
      await stream.ended;
      expect(performance.now() - since).toBeLessThan(2500);
      expect(stream.events.map(({ event }) => event)).not.toContain('done');
      await waitFor(
        'the key is no longer believed',
        async () => (await resumeTurn(caller, conversation, turnId, 0)).status === 401,
      );
    }
    gate.open();
    expect(await other.stream.until(({ event }) => event === 'done')).not.toBeNull();
  } finally {
    await stopPool();
  }
}, 60_000);

it('does not choose between two Authorization headers', async () => {
  const two = `${lineOf(' Bearer wrong')}\r\nauthorization: Bearer ${token}`;
  expect(REFUSALS).toContain(await statusOf(two));
  const other = `${lineOf(` Bearer ${token}`)}\r\nauthorization: Bearer wrong`;
  expect(REFUSALS).toContain(await statusOf(other));
});
