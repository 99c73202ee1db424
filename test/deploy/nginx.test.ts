// The set-up of docs/deploy/nginx.md with whole turns: two gateways behind our nginx, another nginx with a bare
// configuration in front of it.
import { startNginx } from '../../bench/proxy/nginx.ts';
import { readStream } from '../../bench/proxy/stream-client.ts';
import { startSystem } from '../helpers/system.ts';
import { ROOT } from '../helpers/test-home.ts';
import { call, newConversation } from '../helpers/turn-client.ts';
import { waitFor } from '../helpers/wait-for.ts';
import { wholeTurn } from '../helpers/whole-turn.ts';
import type { RunningNginx } from '../../bench/proxy/nginx.ts';
import type { TestSystem } from '../helpers/system.ts';
import type { Caller } from '../helpers/turn-client.ts';
import type { WholeTurn } from '../helpers/whole-turn.ts';

const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 10);
const BODY = {
  content: 'Write a very long story about a lighthouse keeper.',
  temperature: 0,
  max_tokens: 200,
};
/** nginx's patience in the heartbeat tests; the worker is frozen for longer. */
const READ_TIMEOUT = { 'proxy_read_timeout 60s': 'proxy_read_timeout 2s' };
const FROZEN_MS = 5000;

interface Proxied {
  readonly system: TestSystem;
  readonly inner: RunningNginx;
  readonly outer: RunningNginx;
  readonly caller: Caller;
  readonly unproxied: WholeTurn;
  stop(): Promise<void>;
}

async function startProxied(
  gateways: number,
  env: Record<string, string>,
  changes: Record<string, string>,
): Promise<Proxied> {
  const system = await startSystem({ gateways, env });
  const endpoints = system.endpoints();
  const servers = endpoints.gateways.map((url) => `server ${new URL(url).host};`);
  const own = `server ${new URL(endpoints.gateway).host};`;
  const inner = await startNginx(ROOT, 'ours', endpoints.gateway, {
    ...changes,
    [own]: servers.join(' '),
  });
  const outer = await startNginx(ROOT, 'default', inner.url);
  const token = endpoints.tokens.enterprise;
  const direct = { gateway: endpoints.gateway, token };
  const unproxied = await wholeTurn([direct], await newConversation(direct), BODY);
  return {
    system,
    inner,
    outer,
    unproxied,
    caller: { gateway: outer.url, token },
    stop: async () => {
      await outer.stop();
      await inner.stop();
      await system.stop();
    },
  };
}

/** Freezes the worker of the turn once its first token is there, and wakes it after FROZEN_MS. */
async function turnWithSilence({ system, caller }: Proxied): Promise<WholeTurn> {
  const [worker] = system
    .processes()
    .filter(({ kind, pool }) => kind === 'inference-worker' && pool === 'default');
  let isFrozen = false;
  return wholeTurn([caller], await newConversation(caller), BODY, ({ event }) => {
    if (isFrozen || event !== 'token' || worker === undefined) return;
    isFrozen = true;
    process.kill(worker.pid, 'SIGSTOP');
    setTimeout(() => process.kill(worker.pid, 'SIGCONT'), FROZEN_MS);
  });
}

describe('two gateways behind two nginx', () => {
  let proxied: Proxied;
  beforeAll(async () => {
    proxied = await startProxied(2, { HEARTBEAT_MS: '500' }, READ_TIMEOUT);
  }, 300_000);
  afterAll(() => proxied.stop(), 60_000);

  it('say the same as the gateway itself, over HTTP/2 too', async () => {
    const { caller, inner, unproxied } = proxied;
    const turn = await wholeTurn([caller], await newConversation(caller), BODY);
    expect(turn.text).toBe(unproxied.text);
    let text = '';
    const path = `/v1/conversations/${await newConversation(caller)}/turns`;
    const headers = { authorization: `Bearer ${caller.token}` };
    const body = { role: 'user', ...BODY };
    await readStream({ url: `${inner.url}${path}`, isHttp2: true, headers, body }, (frame) => {
      if (frame.event === 'token') text += (JSON.parse(frame.data) as { text: string }).text;
    });
    expect(text).toBe(unproxied.text);
  }, 60_000);

  it('keep a stream open that is quiet for longer than their patience, by its heartbeats', async () => {
    const turn = await turnWithSilence(proxied);
    expect(turn.maxGapMs).toBeGreaterThan(2500);
    expect(turn).toMatchObject({ text: proxied.unproxied.text, numResumed: 0 });
  }, 90_000);

  it.each(Array.from({ length: TRIALS }, (_, trial) => trial))(
    'let the reader go on at the other gateway when its own is killed, trial %#',
    async (trial) => {
      const { caller, system, unproxied } = proxied;
      const gateways = system.processes().filter(({ kind }) => kind === 'gateway');
      const conversationId = await newConversation(caller);
      let isDead = false;
      // Behind a balancer a reader does not know which gateway is its own: kill one, and in half of the trials it is.
      const turn = await wholeTurn([caller], conversationId, BODY, ({ id }) => {
        if (isDead || id < 2 + 3 * trial) return;
        isDead = true;
        process.kill(gateways[trial % 2]?.pid ?? 0, 'SIGKILL');
      });
      expect(isDead).toBe(true);
      expect(turn.text).toBe(unproxied.text);
      await waitFor('both gateways answer', async () => {
        const { gateways: urls } = system.endpoints();
        const answers = urls.map((url) =>
          fetch(`${url}/readyz`).then(
            ({ ok }) => ok,
            () => false,
          ),
        );
        return (await Promise.all(answers)).every(Boolean);
      });
      const { json } = await call(caller, 'GET', `/v1/conversations/${conversationId}`);
      const turns = json['turns'] as { role: string; content: string }[];
      expect(turns.map(({ content }) => content)).toEqual([BODY.content, unproxied.text]);
    },
    90_000,
  );
});

describe('a gateway whose heartbeats are slower than nginx is patient', () => {
  let proxied: Proxied;
  beforeAll(async () => {
    proxied = await startProxied(1, { HEARTBEAT_MS: '60000' }, READ_TIMEOUT);
  }, 300_000);
  afterAll(() => proxied.stop(), 60_000);

  it('has its quiet streams cut, and loses no character by it', async () => {
    const turn = await turnWithSilence(proxied);
    expect(turn.numResumed).toBeGreaterThan(0);
    expect(turn.text).toBe(proxied.unproxied.text);
  }, 90_000);
});
