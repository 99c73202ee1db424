// What a turn's prompt was, through the public API, on real services; only the model is fake.
import { Runtime } from '@temporalio/worker';
import type { WireTurnPrompt } from '../../../contracts/api.ts';
import { turnPrompt } from '../../../contracts/api.ts';
import { newFactId } from '../../../contracts/ids.ts';
import { rows } from '../../../postgres/pool.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';

/** As long as the catalogue says that the pool's context is, so that the gateway counts with the same room. */
const model = { ...fakeServedModel({ reply: (seed) => `reply ${seed}` }), contextLength: 8192 };
/** Words that no rule against repetition minds. */
const LONG = Array.from({ length: 1500 }, (_, n) => `word${n}`).join(' ');
let harness: GatewayHarness;
let caller: Caller;
let stopPool: () => Promise<void>;

beforeAll(async () => {
  harness = await startGatewayHarness();
  caller = { gateway: await harness.startGateway(), token: harness.tokens.paid };
  stopPool = await harness.turns.startPool('default', model);
}, 60_000);
afterAll(async () => {
  await stopPool();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

/** Takes a turn to its end. @returns the id of its reply */
async function take(id: string, body: object): Promise<string> {
  const stream = await takeTurn(caller, id, { seed: 1, ...body });
  await stream.ended;
  return String(stream.events[0]?.data['turn_id']);
}

async function promptOf(id: string, turnId: string): Promise<WireTurnPrompt> {
  const { status, json } = await call(
    caller,
    'GET',
    `/v1/conversations/${id}/turns/${turnId}/prompt`,
  );
  expect(status).toBe(200);
  return turnPrompt.parse(json);
}

const spoken = ({ messages }: WireTurnPrompt): string[] =>
  messages.slice(1).map(({ content }) => content);

describe('a turn’s prompt', () => {
  it('is shown to its owner as the engine got it: of continued, edited, regenerated and sampled turns', async () => {
    const id = await newConversation(caller);
    const first = await take(id, { content: 'one' });
    const second = await take(id, { content: 'two', seed: 2 });
    const { json } = await call(caller, 'GET', `/v1/conversations/${id}`);
    const turns = json['turns'] as { turn_id: string; content: string }[];
    const asked = turns.find(({ content }) => content === 'two')?.turn_id;
    const edited = await take(id, { content: 'two, or three', edit_of: asked });
    const again = await take(id, { regenerate_of: second, seed: 7 });
    const sampled = await take(id, { content: 'four', parent_turn_id: second, n: 2 });
    const prompts = await Promise.all(
      [first, second, edited, again, sampled].map((each) => promptOf(id, each)),
    );
    expect(prompts.map(spoken)).toEqual([
      ['one'],
      ['one', 'reply 1', 'two'],
      ['one', 'reply 1', 'two, or three'],
      ['one', 'reply 1', 'two'],
      ['one', 'reply 1', 'two', 'reply 2', 'four'],
    ]);
    for (const [at, prompt] of prompts.entries()) {
      expect(prompt).toMatchObject({
        matches_engine: true,
        left_out: { turns: null, fact_ids: [] },
      });
      expect(prompt.token_count).toBe(model.engine.requests[at]?.promptTokenIds.length);
      expect(prompt.messages[0]?.parts.map(({ kind }) => kind)).toEqual(['system']);
    }
    expect(prompts[1]?.messages.at(-1)?.parts).toEqual([
      { kind: 'turn', turn_id: asked, text: 'two' },
    ]);
  });

  it('has the facts that were chosen for it, until they are removed, and then differs from what the engine got', async () => {
    const id = await newConversation(caller);
    const { db } = harness.turns;
    const turnId = await take(id, { content: 'one' });
    const factId = newFactId();
    await rows(
      db,
      'insert into user_memory (user_id, fact_id, text, created_at) values ($1, $2, $3, $4)',
      [harness.users.paid, factId, 'likes tea', '2026-11-30T23:00:00-05:00'],
    );
    await rows(db, 'update turn_requests set fact_ids = $2 where turn_id = $1', [turnId, [factId]]);
    const second = await take(id, { content: 'two' });
    // What the first was told is told again where it was.
    const shown = await promptOf(id, second);
    expect(shown.matches_engine).toBe(true);
    expect(shown.messages[1]?.parts[0]).toEqual({
      kind: 'fact',
      fact_id: factId,
      text: 'likes tea',
      day: '2026-12-01',
    });
    // With memory off for the second, nothing that it knows would have been shown.
    await rows(db, 'update turn_requests set fact_ids = null where turn_id = $1', [second]);
    expect(spoken(await promptOf(id, second))).toEqual(['one', 'reply 1', 'two']);
    await rows(db, `update turn_requests set fact_ids = '{}' where turn_id = $1`, [second]);
    await rows(db, 'delete from user_memory where fact_id = $1', [factId]);
    const without = await promptOf(id, second);
    expect(spoken(without)).toEqual(['one', 'reply 1', 'two']);
    expect(without.matches_engine).toBe(false);
  });

  it('is nobody else’s, and of replies alone', async () => {
    const id = await newConversation(caller);
    const turnId = await take(id, { content: 'mine' });
    const { user_turn_id: userTurnId } = await promptOf(id, turnId);
    const path = (conversation: string, turn: string): string =>
      `/v1/conversations/${conversation}/turns/${turn}/prompt`;
    const other = await newConversation(caller);
    const stranger = { ...caller, token: harness.tokens.enterprise };
    for (const [who, where, code] of [
      [stranger, path(id, turnId), 'conversation_not_found'],
      [caller, path(other, turnId), 'turn_not_found'],
      [caller, path(id, userTurnId), 'turn_not_found'],
      [caller, path(id, 'nonsense'), 'turn_not_found'],
    ] as const) {
      const { status, json } = await call(who, 'GET', where);
      expect([status, (json['error'] as { code: string }).code]).toEqual([404, code]);
    }
  });
});

describe('a message that does not fit', () => {
  it('is refused with its size and the limit before anything is done for it', async () => {
    const id = await newConversation(caller);
    const ask = (content: string, maxTokens: number): ReturnType<typeof call> =>
      call(caller, 'POST', `/v1/conversations/${id}/turns`, {
        role: 'user',
        content,
        max_tokens: maxTokens,
      });
    const { status, headers, json } = await ask('x'.repeat(9000), 192);
    expect([status, json['error']]).toEqual([
      400,
      {
        code: 'context_length_exceeded',
        message:
          'The message is 9000 tokens; at most 8000 fit beside a reply of 192, in a context of 8192.',
        param: 'content',
      },
    ]);
    // Alone it would fit.
    const tight = await ask('x'.repeat(7990), 192);
    expect(tight.json['error']).toMatchObject({
      message: expect.stringMatching(
        /^The message is 7990 tokens, 80\d\d with the system prompt; at most 8000 fit/,
      ) as string,
    });
    expect(
      await rows(harness.turns.db, 'select 1 from turn_requests where conversation_id = $1', [id]),
    ).toEqual([]);
    const before = Number(headers.get('x-ratelimit-remaining-requests'));
    const after = await ask('x'.repeat(9000), 192);
    expect(Number(after.headers.get('x-ratelimit-remaining-requests'))).toBe(before);
  });

  it('is counted once and stored with its count', async () => {
    const id = await newConversation(caller);
    await take(id, { content: 'twelve chars' });
    expect(
      await rows(
        harness.turns.db,
        'select role, token_count from turns where conversation_id = $1 order by turn_id',
        [id],
      ),
    ).toEqual([
      { role: 'user', token_count: 12 },
      { role: 'assistant', token_count: 7 },
    ]);
  });

  it('is accepted by a gateway without the pool’s vocabulary, and its worker says that it is too long', async () => {
    const gateway = await harness.startGateway({ encoderOf: () => null });
    const blind = { ...caller, gateway };
    const id = await newConversation(blind);
    const stream = await takeTurn(blind, id, { content: LONG });
    await stream.ended;
    expect(stream.events.map(({ event, data }) => [event, data['code'] ?? null])).toContainEqual([
      'error',
      'context_length_exceeded',
    ]);
    const turnId = String(stream.events[0]?.data['turn_id']);
    const shown = await call(blind, 'GET', `/v1/conversations/${id}/turns/${turnId}/prompt`);
    expect([shown.status, shown.json['error']]).toMatchObject([503, { message: /no vocabulary/ }]);
  });
});
