// What expires, by whose rule, and what stays.
import { Runtime } from '@temporalio/worker';
import type { RetentionReport } from '../../../contracts/erasure.ts';
import { cachedTurnsKey } from '../../../contracts/redis-keys.ts';
import type { ConversationId } from '../../../contracts/ids.ts';
import {
  createTurnPartitions,
  dropExpiredMonths,
  partitionHorizonDays,
} from '../../../postgres/partitions.ts';
import { row, rows } from '../../../postgres/pool.ts';
import { runBackground, startBackground } from '../../helpers/background-harness.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';

const OLD_MONTHS = `select create_turn_partitions(now() - interval '400 days', 14)`;

let harness: TurnHarness;
let stop: () => Promise<void>;
beforeAll(async () => {
  harness = await startTurnHarness();
  stop = await startBackground(harness);
  await harness.db.query(OLD_MONTHS);
}, 60_000);
afterAll(async () => {
  await stop();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

async function newUser(tier: 'free' | 'paid', retentionDays: number | null): Promise<string> {
  const found = await row<{ user_id: string }>(
    harness.db,
    `with org as (insert into organisations (name, retention_days) values ('o', $2) returning org_id)
     insert into users (org_id, name, tier) select org_id, 'u', $1 from org returning user_id`,
    [tier, retentionDays],
  );
  return found?.user_id ?? '';
}

/** A conversation with one exchange (turn, request, ledger row, fact) for each age in days. */
async function talk(userId: string, ages: readonly number[]): Promise<string> {
  const made = await row<{ conversation_id: string }>(
    harness.db,
    `insert into conversations (conversation_id, user_id, org_id, model, region, title, created_at, last_turn_at)
     select uuidv7(make_interval(days => 0 - $2::integer)), user_id, org_id, 'm', 'r', 'kept', now() - make_interval(days => $2), now() - make_interval(days => $3)
     from users where user_id = $1 returning conversation_id`,
    [userId, Math.max(...ages), Math.min(...ages)],
  );
  for (const age of ages) {
    await rows(
      harness.db,
      `with said as (
         insert into turns (turn_id, conversation_id, user_id, role, content)
         values (uuidv7(make_interval(days => 0 - $3::integer)), $1, $2, 'user', 'x') returning turn_id
       ), asked as (
         insert into turn_requests (turn_id, user_turn_id, conversation_id, user_id, params, model, pool, idempotency_key, ended_at)
         select turn_id, turn_id, $1, $2, '{}', 'm', 'p', 'key ' || turn_id, now() from said
       ), learnt as (
         insert into user_memory (user_id, fact_id, text, source_turn_id) select $2, uuidv7(), 'x', turn_id from said
         returning fact_id, source_turn_id
       ), sources as (
         insert into memory_sources (user_id, source_turn_id, conversation_id, text_hash, fact_id)
         select $2, source_turn_id, $1, '', fact_id from learnt
       )
       insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens, completion_tokens, cached_tokens, cost_usd)
       select turn_id, $2, uuidv7(), $1, 'm', 'stop', 1, 1, 0, 0 from said`,
      [made?.conversation_id, userId, age],
    );
  }
  return made?.conversation_id ?? '';
}

const count = async (table: string, conversationId: string): Promise<number> =>
  (
    await row<{ n: number }>(
      harness.db,
      `select count(*) as n from ${table} where conversation_id = $1`,
      [conversationId],
    )
  )?.n ?? -1;
const facts = async (userId: string): Promise<number> =>
  (
    await row<{ n: number }>(
      harness.db,
      'select count(*) as n from user_memory where user_id = $1',
      [userId],
    )
  )?.n ?? -1;

describe('retention', () => {
  it('takes from a conversation what is older than its owner’s horizon, and a conversation that has nothing left', async () => {
    const [free, paid, strict, forever] = [
      await newUser('free', null),
      await newUser('paid', null),
      await newUser('paid', 7),
      await newUser('free', 0),
    ];
    const trimmed = await talk(free, [40, 29, 1]);
    const idle = await talk(free, [45, 31]);
    const recent = await talk(free, [29]);
    const ofPaid = await talk(paid, [300, 40]);
    const ofStrict = await talk(strict, [8]);
    const ofForever = await talk(forever, [300]);
    const cached = cachedTurnsKey(trimmed as ConversationId);
    await harness.redis.hset(cached, 'version', '1');

    const report = await runBackground<RetentionReport>(harness, 'retention');

    expect(report).toMatchObject({ conversationsErased: 2, conversationsTrimmed: 1, turns: 1 });
    for (const table of ['turns', 'turn_requests']) {
      expect(await count(table, trimmed)).toBe(2);
      expect(await count(table, recent)).toBe(1);
      expect(await count(table, ofPaid)).toBe(2);
      expect(await count(table, ofForever)).toBe(1);
      for (const gone of [idle, ofStrict]) expect(await count(table, gone)).toBe(0);
    }
    expect(await count('conversations', trimmed)).toBe(1);
    for (const gone of [idle, ofStrict]) expect(await count('conversations', gone)).toBe(0);
    // Three exchanges of the free user's are young enough, and so are their facts.
    expect(await facts(free)).toBe(3);
    expect(await facts(strict)).toBe(0);
    // The books stay.
    expect(await count('ledger', idle)).toBe(2);
    expect(await count('ledger', trimmed)).toBe(3);
    expect(await harness.redis.hget(cached, 'version')).toBeNull();
    expect(await runBackground(harness, 'retention')).toMatchObject({
      conversationsErased: 0,
      conversationsTrimmed: 0,
      turns: 0,
    });
  }, 30_000);

  it('leaves a conversation alone in which a turn runs, however old it is', async () => {
    const userId = await newUser('free', null);
    const id = await talk(userId, [50]);
    await rows(
      harness.db,
      `insert into turn_requests (turn_id, user_turn_id, conversation_id, user_id, params, model, pool) values (uuidv7(), uuidv7(), $1, $2, '{}', 'm', 'p')`,
      [id, userId],
    );
    await runBackground(harness, 'retention');
    expect(await count('turns', id)).toBe(1);
    expect(await count('turn_requests', id)).toBe(2);
  }, 30_000);
});

describe('months', () => {
  const months = async (): Promise<string[]> =>
    (
      await rows<{ name: string }>(
        harness.db,
        `select relname as name from pg_inherits join pg_class on oid = inhrelid where inhparent = 'turns'::regclass order by 1`,
      )
    ).map(({ name }) => name);

  it('are made ahead by the schedule’s workflow, and the metric tells how far', async () => {
    await rows(harness.db, `drop table ${(await months()).at(-1) ?? ''}`);
    expect(await partitionHorizonDays(harness.appDb)).toBeLessThan(125);
    expect(await runBackground<number>(harness, 'partitions')).toBe(1);
    expect(await createTurnPartitions(harness.appDb)).toBe(0);
    const days = await partitionHorizonDays(harness.appDb);
    expect(days).toBeGreaterThan(120);
    expect(days).toBeLessThan(160);
  });

  it('are dropped when they are old and empty, or older than anybody’s horizon, and not before', async () => {
    await harness.db.query(OLD_MONTHS);
    const userId = await newUser('paid', null);
    await talk(userId, [370, 200, 100]);
    const before = await months();
    const isKept = async (days: number): Promise<boolean> => {
      const month = await row<{ name: string }>(
        harness.db,
        `select 'turns_' || to_char((now() - make_interval(days => $1)) at time zone 'UTC', 'YYYY_MM') as name`,
        [days],
      );
      return (await months()).includes(month?.name ?? '');
    };
    // Somebody keeps for ever: only empty months go.
    const empty = await dropExpiredMonths(harness.databaseUrl, null);
    expect(empty).toBeGreaterThan(5);
    expect((await months()).length).toBe(before.length - empty);
    expect([await isKept(370), await isKept(200), await isKept(100)]).toEqual([true, true, true]);
    // Nobody keeps longer than 150 days.
    await dropExpiredMonths(harness.databaseUrl, 150);
    expect([await isKept(370), await isKept(200), await isKept(100)]).toEqual([false, false, true]);
    // This month and those ahead are never touched.
    expect(await isKept(0)).toBe(true);
    expect(await partitionHorizonDays(harness.appDb)).toBeGreaterThan(120);
  }, 30_000);

  it('finishes a drop that was cut short, and leaves a month to the next run that somebody reads', async () => {
    await harness.db.query(`select create_turn_partitions(now() - interval '400 days', 1)`);
    const [first = '', second = ''] = await months();
    await harness.db.query(`alter table turns detach partition ${first}`);
    const reader = await harness.db.connect();
    await reader.query('begin');
    await reader.query(`select from ${second}`);
    expect(await dropExpiredMonths(harness.databaseUrl, null)).toBe(1);
    expect(await row(harness.db, 'select to_regclass($1) as it', [first])).toEqual({ it: null });
    await reader.query('rollback');
    reader.release();
    expect(await dropExpiredMonths(harness.databaseUrl, null)).toBeGreaterThan(0);
    expect(await months()).not.toContain(second);
  }, 30_000);
});

describe('scrubbing', () => {
  it('cleans the stores’ files once after deletions, and does nothing without any', async () => {
    await rows(
      harness.db,
      `insert into erasures (kind, subject_id, counts) values ('conversation', uuidv7(), '{}')`,
    );
    const due = await row<{ n: number }>(
      harness.db,
      'select count(*) as n from erasures where scrubbed_at is null',
    );
    const rewritesBefore = await lastRewrite();
    expect(await runBackground<number>(harness, 'scrubFiles')).toBe(due?.n);
    expect(await lastRewrite()).not.toBe(rewritesBefore);
    expect(await runBackground<number>(harness, 'scrubFiles')).toBe(0);
  }, 30_000);
});

/** Name of the file that the server's appends are based on. */
async function lastRewrite(): Promise<string> {
  const info = await harness.redis.info('persistence');
  return (
    /^aof_base_size:(\d+)/m.exec(info)?.[1] + (/^aof_current_size:(\d+)/m.exec(info)?.[1] ?? '')
  );
}
