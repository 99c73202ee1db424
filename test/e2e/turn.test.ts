// One turn on the whole system: what must never leave the store, and how fast a cancel gives blocks back.
import { readdirSync, readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { startSystem } from '../helpers/system.ts';
import type { TestSystem } from '../helpers/system.ts';
import { call, newConversation, takeTurn, textOf } from '../helpers/turn-client.ts';
import type { Caller, TurnStream } from '../helpers/turn-client.ts';
import { waitFor } from '../helpers/wait-for.ts';

let system: TestSystem;
let caller: Caller;
beforeAll(async () => {
  system = await startSystem();
  const { gateway, tokens } = system.endpoints();
  caller = { gateway, token: tokens.paid };
}, 300_000);
afterAll(() => system.stop(), 60_000);

const metricsUrls = (): string[] =>
  system.processes().flatMap((each) => (each.metrics_url === undefined ? [] : [each.metrics_url]));

async function metric(name: RegExp): Promise<number> {
  const pages = await Promise.all(
    metricsUrls().map((url) => fetch(url).then((response) => response.text())),
  );
  return pages
    .flatMap((page) => page.split('\n'))
    .filter((line) => name.test(line))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

const usedBlocks = (): Promise<number> => metric(/^colloquy_engine_kv_blocks\{state="used"/);

async function history(
  conversationId: string,
  turnId: string,
): Promise<{ events: unknown[]; text: string }> {
  const id = encodeURIComponent(`turn/${conversationId}/${turnId}`);
  const response = await fetch(
    `${system.endpoints().temporal_ui}/api/v1/namespaces/default/workflows/${id}/history`,
  );
  const { history: found } = (await response.json()) as { history: { events: unknown[] } };
  const raw = JSON.stringify(found);
  // Payloads are base64 in JSON: decode every string that may be one.
  const decoded = [...raw.matchAll(/"data":"([^"]+)"/g)].map(([, data]) =>
    Buffer.from(data ?? '', 'base64').toString('utf8'),
  );
  return { events: found.events, text: [raw, ...decoded].join('\n') };
}

async function long(): Promise<{ id: string; stream: TurnStream }> {
  const id = await newConversation(caller);
  return {
    id,
    stream: await takeTurn(caller, id, {
      content: 'Write a very long story about the sea.',
      max_tokens: 1500,
      temperature: 0,
    }),
  };
}

describe('a turn on the whole system', () => {
  it('leaves its text in no history, log, metric or error body, done, refused or cancelled', async () => {
    const canary = `canary${randomBytes(12).toString('hex')}`;
    const id = await newConversation(caller);
    const stream = await takeTurn(caller, id, {
      content: `Please repeat this word: ${canary}`,
      max_tokens: 40,
      temperature: 0,
    });
    await stream.ended;
    const refused = [
      await call(caller, 'POST', `/v1/conversations/${id}/turns`, {
        role: canary,
        content: canary,
      }),
      await call(caller, 'POST', `/v1/conversations/${id}/turns`, {
        role: 'user',
        content: canary,
        model: canary,
      }),
      await call({ ...caller, token: canary }, 'POST', `/v1/conversations/${id}/turns`, {
        role: 'user',
        content: canary,
      }),
      await call(caller, 'GET', `/v1/conversations/${canary}`),
    ];
    const divergent = await takeTurn(caller, id, { content: `${canary} `.repeat(60) });
    await divergent.ended;
    expect(divergent.events.map(({ event }) => event)).toEqual(['open', 'moderation', 'done']);

    for (const answer of refused) expect(JSON.stringify(answer.json)).not.toContain(canary);
    for (const name of readdirSync(system.home.logs))
      expect([name, readFileSync(join(system.home.logs, name), 'utf8').includes(canary)]).toEqual([
        name,
        false,
      ]);
    for (const url of metricsUrls())
      expect([url, (await (await fetch(url)).text()).includes(canary)]).toEqual([url, false]);
    for (const each of [stream, divergent]) {
      const { text } = await history(id, String(each.events[0]?.data['turn_id']));
      expect(text).toContain('moderateInput');
      expect(text).not.toContain(canary);
    }
  });

  it('has a history of the same size for a 10-token and a 400-token reply, at most 30 events', async () => {
    const sizes: number[] = [];
    for (const maxTokens of [10, 400]) {
      const id = await newConversation(caller);
      const stream = await takeTurn(caller, id, {
        content: 'Write a very long story about a lighthouse keeper.',
        max_tokens: maxTokens,
        temperature: 0,
      });
      await stream.ended;
      expect(stream.events.at(-1)?.data).toMatchObject({ usage: { completion_tokens: maxTokens } });
      const turnId = String(stream.events[0]?.data['turn_id']);
      const closed = await waitFor('the workflow has closed', async () => {
        const { events, text } = await history(id, turnId);
        return text.includes('WORKFLOW_EXECUTION_COMPLETED') && events;
      });
      sizes.push(closed.length);
    }
    expect(sizes[0]).toBe(sizes[1]);
    expect(sizes[0]).toBeLessThanOrEqual(30);
  });

  it.each([
    ['before the first token', 0],
    ['after one token event', 1],
    ['after twenty', 20],
  ])(
    'cancelled %s stores what was delivered and gives its blocks back',
    async (_name, numTokens) => {
      const before = await usedBlocks();
      const { id, stream } = await long();
      let seen = 0;
      if (numTokens > 0)
        await stream.until(({ event }) => event === 'token' && (seen += 1) >= numTokens);
      const answers = await Promise.all(
        [1, 2].map(() => call(caller, 'POST', `/v1/conversations/${id}/cancel`)),
      );
      await stream.ended;
      answers.push(await call(caller, 'POST', `/v1/conversations/${id}/cancel`));
      expect(answers.map(({ status }) => status)).toEqual([204, 204, 204]);
      expect(await usedBlocks()).toBe(before);
      const { json } = await call(caller, 'GET', `/v1/conversations/${id}`);
      expect((json['turns'] as unknown[])[1]).toMatchObject({
        finish_reason: 'cancelled',
        content: textOf(stream.events),
      });
    },
  );
});
