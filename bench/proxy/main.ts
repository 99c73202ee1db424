// How much later a frame is there behind nginx than without it: two readers of the same turn, one at the gateway and one
// behind one or two nginx, with a bare configuration and with docs/deploy/nginx.conf, over HTTP/1.1 and HTTP/2. The system
// runs already (npm start). `npm run bench:proxy -- --turns 10` prints a JSON line for each set-up.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { summary } from '../statistics.ts';
import { startNginx } from './nginx.ts';
import { readStream } from './stream-client.ts';
import type { RunningNginx, Site } from './nginx.ts';
import type { StreamRequest, TimedFrame } from './stream-client.ts';

const NUM_TOKENS = 200;

interface SetUp {
  readonly name: string;
  /** Innermost first. */
  readonly layers: readonly Site[];
  readonly isHttp2: boolean;
}

const SET_UPS: readonly SetUp[] = [
  { name: 'no proxy', layers: [], isHttp2: false },
  { name: 'default', layers: ['default'], isHttp2: false },
  { name: 'default, two deep', layers: ['default', 'default'], isHttp2: false },
  { name: 'ours', layers: ['ours'], isHttp2: false },
  { name: 'ours, HTTP/2', layers: ['ours'], isHttp2: true },
  { name: 'ours, two deep', layers: ['ours', 'ours'], isHttp2: false },
  { name: 'ours, two deep, HTTP/2', layers: ['ours', 'ours'], isHttp2: true },
  { name: 'ours behind a default one', layers: ['ours', 'default'], isHttp2: false },
];

interface Endpoints {
  readonly gateway: string;
  readonly tokens: { readonly enterprise: string };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { turns: { type: 'string', default: '10' } } });
  const home = process.env['COLLOQUY_HOME'] ?? '.colloquy';
  const endpoints = JSON.parse(
    readFileSync(join(home, 'run', 'endpoints.json'), 'utf8'),
  ) as Endpoints;
  for (const setUp of SET_UPS) {
    const chain = await startChain(setUp.layers, endpoints.gateway);
    try {
      const url = chain.at(-1)?.url ?? endpoints.gateway;
      const rows = [];
      for (let turn = 0; turn < Number(values.turns); turn += 1)
        rows.push(await compareOnce(endpoints, url, setUp.isHttp2));
      const delays = rows.flatMap(({ delays: each }) => each);
      process.stdout.write(
        `${JSON.stringify({
          set_up: setUp.name,
          turns: rows.length,
          frames: delays.length,
          added_delay_ms: summary(delays),
          gap_ms: summary(rows.flatMap(({ gaps }) => gaps)),
          gap_without_ms: summary(rows.flatMap(({ directGaps }) => directGaps)),
        })}\n`,
      );
    } finally {
      for (const each of chain) await each.stop();
    }
  }
}

async function startChain(layers: readonly Site[], gateway: string): Promise<RunningNginx[]> {
  const chain: RunningNginx[] = [];
  for (const layer of layers)
    chain.push(await startNginx(process.cwd(), layer, chain.at(-1)?.url ?? gateway));
  return chain;
}

interface Comparison {
  /** Per frame that both readers had live. */
  readonly delays: number[];
  readonly gaps: number[];
  readonly directGaps: number[];
}

/** One turn with a reader at the gateway; the other reader joins behind the proxy with the first frame. */
async function compareOnce(
  { gateway, tokens }: Endpoints,
  proxied: string,
  isHttp2: boolean,
): Promise<Comparison> {
  const headers = { authorization: `Bearer ${tokens.enterprise}` };
  const created = await fetch(`${gateway}/v1/conversations`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: '{}',
  });
  const { conversation_id: id } = (await created.json()) as { conversation_id: string };
  const path = `/v1/conversations/${id}/turns`;
  const [direct, behind]: TimedFrame[][] = [[], []];
  let other: Promise<void> = Promise.resolve();
  const join = (turnId: string): void => {
    const request: StreamRequest = { url: `${proxied}${path}/${turnId}/stream`, isHttp2, headers };
    other = readStream(request, (frame) => behind?.push(frame));
  };
  const content = 'Write a very long story about a lighthouse keeper.';
  const body = { role: 'user', content, temperature: 0, max_tokens: NUM_TOKENS };
  await readStream({ url: `${gateway}${path}`, body, headers }, (frame) => {
    direct?.push(frame);
    if (frame.event === 'open') join((JSON.parse(frame.data) as { turn_id: string }).turn_id);
  });
  await other;
  const at = new Map(direct?.map((frame) => [frame.id, frame.at]));
  // What was there before the second reader was reaches it as a replay, which is no delay of the proxy's.
  const joinedAt = behind?.[0]?.at ?? 0;
  const live = (behind ?? []).filter(({ id: each }) => (at.get(each) ?? 0) > joinedAt);
  return {
    delays: live.map((frame) => frame.at - (at.get(frame.id) ?? NaN)).filter(Number.isFinite),
    gaps: gapsOf(live),
    directGaps: gapsOf(direct ?? []),
  };
}

function gapsOf(frames: readonly TimedFrame[]): number[] {
  return frames.slice(1).map((frame, index) => frame.at - (frames[index]?.at ?? frame.at));
}

main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exitCode = 1;
});
