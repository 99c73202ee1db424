// Taking one's data along: the whole of it, one's own only, page by page.
import { Runtime } from '@temporalio/worker';
import { userExport } from '../../../contracts/api.ts';
import { newConversationId } from '../../../contracts/ids.ts';
import { rows } from '../../../postgres/pool.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';

const NUM_CONVERSATIONS = 53;
const NUM_TURNS = 47;

let harness: GatewayHarness;
let caller: Caller;
let userId: string;

beforeAll(async () => {
  harness = await startGatewayHarness();
  caller = { gateway: await harness.startGateway(), token: harness.tokens.paid };
  userId = harness.users.paid;
  for (const owner of [harness.users.paid, harness.users.free]) {
    for (let index = 0; index < NUM_CONVERSATIONS; index += 1) {
      await rows(
        harness.turns.db,
        `insert into conversations (conversation_id, user_id, org_id, model, region, title)
         select $1, user_id, org_id, 'm', 'local', $3 from users where user_id = $2`,
        [newConversationId(), owner, `"${index}" of ${owner}`],
      );
    }
    await rows(
      harness.turns.db,
      `insert into turns (turn_id, conversation_id, user_id, role, content)
       select uuidv7(), c.conversation_id, c.user_id, 'user', 'said ' || n from conversations c, generate_series(1, $2) n
       where c.user_id = $1 and c.title like '"0"%'`,
      [owner, NUM_TURNS],
    );
  }
  await call(caller, 'PATCH', `/v1/users/${userId}/memory`, { add: ['likes\n"quotes"'] });
}, 60_000);
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

describe('GET /v1/users/{id}/export', () => {
  it('gives everything of the caller as the documented object, and nothing of anybody else', async () => {
    const { status, headers, json } = await call(caller, 'GET', `/v1/users/${userId}/export`);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toContain('application/json');
    const exported = userExport.parse(json);
    expect(exported.user).toMatchObject({ user_id: userId, tier: 'paid' });
    expect(exported.facts.map(({ text }) => text)).toEqual(['likes\n"quotes"']);
    expect(exported.conversations).toHaveLength(NUM_CONVERSATIONS);
    expect(new Set(exported.conversations.map((each) => each.conversation_id)).size).toBe(
      NUM_CONVERSATIONS,
    );
    const long = exported.conversations.find(({ title }) => title?.startsWith('"0"'));
    expect(long?.turns.map(({ content }) => content).toSorted()).toEqual(
      Array.from({ length: NUM_TURNS }, (_, index) => `said ${index + 1}`).toSorted(),
    );
    expect(JSON.stringify(json)).not.toContain(harness.users.free);
  });

  it('says that the store is away as every route does, rather than sending half an object', async () => {
    const away = jest.spyOn(harness.turns.appDb, 'query').mockImplementation((async (asked: {
      text: string;
    }) => {
      if (asked.text.includes('user_memory'))
        throw Object.assign(new Error('away'), { code: '57P01' });
      return harness.turns.db.query(asked.text, (asked as { values?: unknown[] }).values ?? []);
    }) as never);
    const answer = await call(caller, 'GET', `/v1/users/${userId}/export`);
    away.mockRestore();
    expect(answer).toMatchObject({ status: 503, json: { error: { code: 'storage_unavailable' } } });
  });
});
