// Logprobs through the public API, on real services; only the model is fake.
import { Runtime } from '@temporalio/worker';
import type { TurnId } from '../../../contracts/ids.ts';
import type { ReplyLogprobs } from '../../../contracts/logprobs.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, resumeTurn, takeTurn, textOf } from '../../helpers/turn-client.ts';
import type { Caller, ReceivedEvent } from '../../helpers/turn-client.ts';

const REPLY = 'Sea «ü» 👍.';
let harness: GatewayHarness;
let caller: Caller;
let stopPool: () => Promise<void>;

beforeAll(async () => {
  harness = await startGatewayHarness();
  caller = { gateway: await harness.startGateway(), token: harness.tokens.paid };
  stopPool = await harness.turns.startPool('default', fakeServedModel({ reply: REPLY }));
}, 60_000);
afterAll(async () => {
  await stopPool();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

const contentOf = (events: readonly ReceivedEvent[]): ReplyLogprobs['content'] =>
  events.flatMap(({ data }) => (data['logprobs'] as ReplyLogprobs | undefined)?.content ?? []);
const spelt = (content: ReplyLogprobs['content']): string =>
  Buffer.from(content.flatMap(({ bytes }) => bytes)).toString('utf8');

describe('logprobs', () => {
  it('come with every token, with so many alternatives as were asked for', async () => {
    for (const top of [undefined, 0, 3]) {
      const id = await newConversation(caller);
      const asked = top === undefined ? {} : { top_logprobs: top };
      const stream = await takeTurn(caller, id, { content: 'Hello', logprobs: true, ...asked });
      await stream.ended;
      const content = contentOf(stream.events);
      expect(spelt(content)).toBe(REPLY);
      expect(content).toHaveLength([...REPLY].length);
      expect(content.every(({ top_logprobs }) => top_logprobs.length === (top ?? 0))).toBe(true);
    }
  });

  it('are absent when they were not asked for', async () => {
    for (const asked of [{}, { logprobs: false }]) {
      const id = await newConversation(caller);
      const stream = await takeTurn(caller, id, { content: 'Hello', ...asked });
      await stream.ended;
      expect(JSON.stringify(stream.events)).not.toContain('logprob');
    }
  });

  it('are in the JSON reply, for each reply of several', async () => {
    const id = await newConversation(caller);
    const response = await fetch(`${caller.gateway}/v1/conversations/${id}/turns`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${caller.token}`,
        'content-type': 'application/json',
        accept: 'application/json',
      },
      body: JSON.stringify({ role: 'user', content: 'x', n: 2, logprobs: true, top_logprobs: 1 }),
    });
    const reply = (await response.json()) as {
      logprobs: ReplyLogprobs;
      samples: { logprobs: ReplyLogprobs }[];
    };
    expect(spelt(reply.logprobs.content)).toBe(REPLY);
    expect(reply.samples.map(({ logprobs }) => spelt(logprobs.content))).toEqual([REPLY, REPLY]);
  });

  it('are resumed with the log, and are gone once it has expired', async () => {
    const id = await newConversation(caller);
    const live = await takeTurn(caller, id, { content: 'Hello', logprobs: true });
    await live.ended;
    const turnId = live.events[0]?.data['turn_id'] as TurnId;
    for (const { id: after } of live.events) {
      const replay = await resumeTurn(caller, id, turnId, after);
      await replay.ended;
      const before = live.events.filter((event) => event.id <= after);
      expect(spelt(contentOf([...before, ...replay.events]))).toBe(REPLY);
    }
    await harness.turns.turnLog.remove(turnId);
    const stored = await resumeTurn(caller, id, turnId, 0);
    await stored.ended;
    expect(textOf(stored.events)).toBe(REPLY);
    expect(contentOf(stored.events)).toEqual([]);
  });

  it.each([
    [{ top_logprobs: 3 }, 'top_logprobs'],
    [{ logprobs: false, top_logprobs: 3 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: -1 }, 'top_logprobs'],
    [{ logprobs: 3 }, 'logprobs'],
  ])('refuses %p', async (asked, param) => {
    const id = await newConversation(caller);
    const path = `/v1/conversations/${id}/turns`;
    expect(
      await call(caller, 'POST', path, { role: 'user', content: 'x', ...asked }),
    ).toMatchObject({ status: 400, json: { error: { code: 'invalid_request', param } } });
  });
});
