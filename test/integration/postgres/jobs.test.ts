// What jobs find and write, on a real server.
import { escapeLiteral } from 'pg';
import { v7 } from 'uuid';
import type { TurnId } from '../../../contracts/ids.ts';
import { countDay, openDays } from '../../../postgres/job-days.ts';
import { staleFacts, staleWindow, storeEmbeddings } from '../../../postgres/job-facts.ts';
import {
  storeTokenCounts,
  turnMonths,
  uncountedTurns,
  uncountedWindow,
} from '../../../postgres/job-turns.ts';
import { rows } from '../../../postgres/pool.ts';
import { createJobDatabase } from '../../helpers/job-database.ts';
import type { JobDatabase } from '../../helpers/job-database.ts';

let database: JobDatabase;
beforeEach(async () => {
  database = await createJobDatabase();
}, 60_000);
afterEach(() => database.close());

const MODEL = 'encoder-2';
const vector = Float32Array.from([0.6, 0.8]);

describe('stale facts', () => {
  it('are those without a vector and those of another model, of all users, in windows of any size', async () => {
    const { db } = database;
    const users = [await database.newUser(), await database.newUser()];
    for (const { userId } of users)
      await database.addFacts(userId, ['bare one', 'bare two', 'old', 'fresh']);
    await rows(
      db,
      `update user_memory set embedding = array_fill(1, array[1536])::vector,
         embedding_model = case text when 'fresh' then $1 else 'encoder-1' end
       where text in ('old', 'fresh')`,
      [MODEL],
    );
    for (const maxRows of [1, 3, 100]) {
      let [after, total]: [string | null, number] = [null, 0];
      for (;;) {
        const window = await staleWindow(db, MODEL, after, maxRows, 2);
        if (window.through === null) break;
        const facts = await staleFacts(db, MODEL, after, window.through, 100);
        expect(facts).toHaveLength(window.count);
        expect(facts.map(({ text }) => text)).not.toContain('fresh');
        [after, total] = [window.through, total + window.count];
      }
      expect(total).toBe(6);
    }
  });

  it('get a vector as wide as the column, filled up with zeros, and the model’s name', async () => {
    const { db } = database;
    const { userId } = await database.newUser();
    await database.addFacts(userId, ['likes rain']);
    const through = (await staleWindow(db, MODEL, null, 10, 10)).through ?? '';
    const facts = await staleFacts(db, MODEL, null, through, 10);
    expect(
      await storeEmbeddings(
        db,
        MODEL,
        facts.map((fact) => ({ ...fact, vector })),
      ),
    ).toBe(1);
    const [stored] = await rows<{ embedding: number[]; embedding_model: string }>(
      db,
      'select embedding, embedding_model from user_memory',
    );
    expect(stored?.embedding_model).toBe(MODEL);
    expect(stored?.embedding).toHaveLength(1536);
    expect(stored?.embedding.slice(0, 3)).toEqual([expect.closeTo(0.6), expect.closeTo(0.8), 0]);
    expect((await staleWindow(db, MODEL, null, 10, 10)).count).toBe(0);
  });

  it('whose text was changed meanwhile keep no vector of the old one', async () => {
    const { db } = database;
    const { userId } = await database.newUser();
    await database.addFacts(userId, ['lives in Bern', 'has a dog']);
    const through = (await staleWindow(db, MODEL, null, 10, 10)).through ?? '';
    const facts = await staleFacts(db, MODEL, null, through, 10);
    await rows(db, `update user_memory set text = 'lives in Basel' where text = 'lives in Bern'`);
    expect(
      await storeEmbeddings(
        db,
        MODEL,
        facts.map((fact) => ({ ...fact, vector })),
      ),
    ).toBe(1);
    const left = await staleFacts(db, MODEL, null, through, 10);
    expect(left.map(({ text }) => text)).toEqual(['lives in Basel']);
  });
});

describe('uncounted turns', () => {
  const months = (): Date[] => {
    const now = new Date();
    return [0, 1, 2].map(
      (ahead) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 15)),
    );
  };

  it('are found month by month, and a month’s statement touches its partition alone', async () => {
    const { db } = database;
    const { userId, orgId } = await database.newUser();
    const conversation = await database.newConversation(userId, orgId);
    const dates = months();
    await database.addTurns(
      conversation,
      userId,
      dates.flatMap((at) => [1, 2, 3].map((n) => ({ at, content: `turn ${n}` }))),
    );
    const known = await turnMonths(db);
    expect(known).toEqual([...known].sort());
    for (const at of dates) {
      const month = at.toISOString().slice(0, 7);
      expect(known).toContain(month);
      const window = await uncountedWindow(db, month, null, 100, 2);
      expect(window.count).toBe(2);
      const found = await uncountedTurns(db, month, null, window.through ?? '', 10);
      expect(found.map(({ place }) => place.slice(0, 7))).toEqual([month, month]);
      expect(found[0]).toMatchObject({
        conversationId: conversation,
        model: 'colloquy-mini',
        pool: null,
      });
    }
  });

  it.each(['force_custom_plan', 'force_generic_plan'])(
    'are looked for in one partition, with %s',
    async (mode) => {
      const { db } = database;
      const [at = new Date()] = months();
      const month = at.toISOString().slice(0, 7);
      let asked: { text: string; values: unknown[] } = { text: '', values: [] };
      const listening = {
        query: (statement: typeof asked) => {
          asked = statement;
          return db.query(statement);
        },
      };
      await uncountedWindow(listening as unknown as typeof db, month, null, 5000, 512);
      const client = await db.connect();
      try {
        await client.query(`set plan_cache_mode = ${mode}`);
        await client.query(`prepare looked as ${asked.text}`);
        const values = asked.values.map((value) => escapeLiteral(String(value))).join(', ');
        const { rows: plan } = await client.query<{ 'QUERY PLAN': string }>(
          `explain analyze execute looked(${values})`,
        );
        const lines = plan.map((line) => line['QUERY PLAN']);
        const touched = lines.filter((line) => !line.includes('never executed')).join('\n');
        expect(new Set(touched.match(/ on turns_\d{4}_\d{2}/g))).toEqual(
          new Set([` on turns_${month.replace('-', '_')}`]),
        );
      } finally {
        client.release(true);
      }
    },
  );

  it('get their counts once: what somebody else counted meanwhile stays', async () => {
    const { db } = database;
    const { userId, orgId } = await database.newUser();
    const conversation = await database.newConversation(userId, orgId);
    const [at = new Date()] = months();
    const month = at.toISOString().slice(0, 7);
    const [first, second] = await database.addTurns(conversation, userId, [
      { at, content: 'one' },
      { at, content: 'two' },
    ]);
    await rows(db, 'update turns set token_count = 77 where turn_id = $1', [first]);
    await storeTokenCounts(
      db,
      month,
      [first, second].map((turnId) => ({
        conversationId: conversation,
        turnId: turnId as TurnId,
        numTokens: 5,
      })),
    );
    const counts = await rows(db, 'select content, token_count from turns order by content');
    expect(counts).toEqual([
      { content: 'one', token_count: 77 },
      { content: 'two', token_count: 5 },
    ]);
    expect((await uncountedWindow(db, month, null, 100, 100)).count).toBe(0);
  });
});

describe('days', () => {
  const DAY = '2026-03-07';

  async function bill(
    owner: { userId: string; orgId: string },
    at: string,
    finishReason: string,
    conversation = v7(),
  ): Promise<void> {
    await rows(
      database.db,
      `insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens,
         completion_tokens, cached_tokens, cost_usd)
       values ($1, $2, $3, $4, 'm', $5, 10, 3, 4, 0.25)`,
      [v7({ msecs: Date.parse(at) }), owner.userId, owner.orgId, conversation, finishReason],
    );
  }
  const stored = (): Promise<Record<string, unknown>[]> =>
    rows(
      database.db,
      `select to_char(day, 'YYYY-MM-DD') as day, org_id, turns, users, conversations, prompt_tokens, completion_tokens,
         cached_tokens, cost_usd, outcomes from daily_statistics order by day, turns desc`,
    );

  it('are counted by organisation from midnight to midnight UTC, and counting again changes nothing', async () => {
    const [one, other] = [await database.newUser(), await database.newUser()];
    const conversation = v7();
    await bill(one, `${DAY}T00:00:00.000Z`, 'stop', conversation);
    await bill(one, `${DAY}T23:59:59.999Z`, 'stop', conversation);
    await bill({ ...one, userId: other.userId }, `${DAY}T12:00:00Z`, 'cancelled');
    await bill(other, `${DAY}T12:00:00Z`, 'error');
    await bill(one, '2026-03-06T23:59:59.999Z', 'stop');
    await bill(one, '2026-03-08T00:00:00.000Z', 'stop');
    await countDay(database.db, DAY);
    const expected = [
      {
        day: DAY,
        org_id: one.orgId,
        turns: 3,
        users: 2,
        conversations: 2,
        prompt_tokens: 30,
        completion_tokens: 9,
        cached_tokens: 12,
        cost_usd: 0.75,
        outcomes: { stop: 2, cancelled: 1 },
      },
      expect.objectContaining({ org_id: other.orgId, turns: 1, outcomes: { error: 1 } }),
    ];
    expect(await stored()).toEqual(expected);
    await countDay(database.db, DAY);
    expect(await stored()).toEqual(expected);
  });

  it('lose the row of an organisation whose turns are gone', async () => {
    const [one, other] = [await database.newUser(), await database.newUser()];
    await bill(one, `${DAY}T10:00:00Z`, 'stop');
    await bill(other, `${DAY}T10:00:00Z`, 'stop');
    await countDay(database.db, DAY);
    await rows(database.db, 'delete from ledger where org_id = $1', [one.orgId]);
    await countDay(database.db, DAY);
    expect((await stored()).map((row) => row['org_id'])).toEqual([other.orgId]);
  });

  it('stay open until they were counted a day after their end', async () => {
    const owner = await database.newUser();
    const { db } = database;
    for (const day of ['2026-03-01', '2026-03-05', '2026-03-06'])
      await bill(owner, `${day}T10:00:00Z`, 'stop');
    const today = new Date().toISOString();
    await bill(owner, today, 'stop');
    const all = ['2026-03-01', '2026-03-05', '2026-03-06', today.slice(0, 10)];
    expect(await openDays(db, null, 10)).toEqual(all);
    expect(await openDays(db, '2026-03-01', 2)).toEqual(all.slice(1, 3));
    for (const day of all) await countDay(db, day);
    expect(await openDays(db, null, 10)).toEqual([all[3]]);
    await rows(
      db,
      `update daily_statistics set computed_at = '2026-03-06T23:59:00Z' where day = '2026-03-05'`,
    );
    expect(await openDays(db, null, 10)).toEqual([all[1], all[3]]);
  });
});
