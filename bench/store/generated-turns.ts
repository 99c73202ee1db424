// Conversations as a service has them after a year, loaded in the order in which they would have been written: long ones and
// short ones, in sittings with days between them, messages short and replies long.
import type { ConversationId, OrgId, TurnId, UserId } from '../../contracts/ids.ts';
import { row, rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { randomNumbers } from '../random-numbers.ts';
import { idAt, logNormal, wordsOf } from './random.ts';

export interface LoadSize {
  readonly conversations: number;
  readonly turns: number;
  /** The past months over which conversations begin. */
  readonly months: number;
  readonly seed: number;
}

export interface Loaded {
  readonly userId: UserId;
  readonly orgId: OrgId;
}

interface Conversation {
  readonly id: ConversationId;
  readonly turns: number;
  numTurns: number;
  last: TurnId | null;
  lastAt: number;
}

interface TurnRow {
  readonly conversation: number;
  readonly at: number;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const BATCH = 4000;

/** Loads unless this size is loaded already; the owner of it all. */
export async function loadTurns(db: Pool, size: LoadSize): Promise<Loaded> {
  const { conversations, turns, months, seed } = size;
  const name = `load ${JSON.stringify({ conversations, turns, months, seed })}`;
  const found = await row<{ user_id: UserId; org_id: OrgId }>(
    db,
    `select u.user_id, u.org_id from organisations o join users u using (org_id) where o.name = $1`,
    [name],
  );
  if (found !== null) return { userId: found.user_id, orgId: found.org_id };
  const made = await row<{ user_id: UserId; org_id: OrgId }>(
    db,
    `with org as (insert into organisations (name) values ('being loaded') returning org_id)
     insert into users (org_id, name, tier) select org_id, 'bench', 'paid' from org returning user_id, org_id`,
  );
  if (made === null) throw new Error('no user was made');
  await rows(db, 'select create_turn_partitions(now() - make_interval(months => $1), $1 + 4)', [
    size.months,
  ]);
  await load(db, size, { userId: made.user_id, orgId: made.org_id });
  await rows(db, 'update organisations set name = $2 where org_id = $1', [made.org_id, name]);
  return { userId: made.user_id, orgId: made.org_id };
}

async function load(db: Pool, size: LoadSize, { userId, orgId }: Loaded): Promise<void> {
  const random = randomNumbers(size.seed);
  const text = wordsOf(random, 4 * 1024 * 1024);
  const { conversations, schedule } = planned(random, size);
  const from = (length: number): string => {
    const start = Math.floor(random() * (text.length - length));
    return text.slice(start, start + length);
  };
  for (let begin = 0; begin < schedule.length; begin += BATCH) {
    const columns: unknown[][] = [[], [], [], [], [], [], [], [], [], []];
    for (const { conversation: index, at } of schedule.slice(begin, begin + BATCH)) {
      const conversation = conversations[index];
      if (conversation === undefined) continue;
      const isReply = conversation.numTurns % 2 === 1;
      const turnId = idAt(random, at) as TurnId;
      const length = Math.min(30_000, Math.ceil(logNormal(random, isReply ? 600 : 90, 0.9)));
      const tokens = Math.ceil(length / 4);
      const offsets = Array.from({ length: Math.ceil(tokens / 16) + 2 }, (_, n) =>
        Math.min(length, n * 64),
      );
      [
        turnId,
        conversation.id,
        isReply ? 'assistant' : 'user',
        from(length),
        isReply ? tokens : null,
        conversation.last,
        isReply ? 'colloquy-mini' : null,
        isReply ? 'stop' : null,
        isReply ? `{${offsets.join(',')}}` : null,
        new Date(at),
      ].forEach((value, column) => columns[column]?.push(value));
      conversation.last = turnId;
      conversation.lastAt = at;
      conversation.numTurns += 1;
    }
    await rows(db, INSERT_TURNS, [userId, ...columns]);
  }
  for (let begin = 0; begin < conversations.length; begin += BATCH) {
    const some = conversations.slice(begin, begin + BATCH);
    await rows(db, INSERT_CONVERSATIONS, [
      userId,
      orgId,
      some.map(({ id }) => id),
      some.map(({ last }) => last),
      some.map(({ numTurns }) => numTurns),
      some.map(({ lastAt }) => new Date(lastAt)),
    ]);
  }
  for (const statement of [INSERT_REQUESTS, INSERT_LEDGER])
    await patiently(db, statement, [userId]);
  await patiently(db, 'vacuum analyze', []);
}

/** Every turn's moment, in order of time. */
function planned(
  random: () => number,
  { conversations: count, turns, months }: LoadSize,
): { conversations: Conversation[]; schedule: TurnRow[] } {
  const weights = Array.from({ length: count }, () => logNormal(random, 1, 1));
  const sum = weights.reduce((total, each) => total + each, 0);
  const until = Date.now() - DAY;
  const schedule: TurnRow[] = [];
  const conversations = weights.map((weight, index): Conversation => {
    // Pairs of a message and a reply.
    const numTurns = Math.max(2, 2 * Math.round(((weight / sum) * turns) / 2));
    let at = until - random() * (months - 1) * 30 * DAY;
    const id = idAt(random, at) as ConversationId;
    for (let turn = 0; turn < numTurns; turn += 1) {
      // A reply takes seconds; the next message minutes, and one in twenty waits for another day.
      const isReply = turn % 2 === 1;
      const pause = isReply ? 5000 : random() < 0.05 ? random() * 3 * DAY : random() * 5 * MINUTE;
      at = Math.min(until + turn, at + pause);
      schedule.push({ conversation: index, at });
    }
    return { id, turns: numTurns, numTurns: 0, last: null, lastAt: at };
  });
  schedule.sort((one, other) => one.at - other.at);
  return { conversations, schedule };
}

/** Longer than a statement of the service may take. */
async function patiently(db: Pool, statement: string, values: unknown[]): Promise<void> {
  const client = await db.connect();
  try {
    await client.query('set statement_timeout = 0');
    await client.query({ text: statement, values, query_timeout: 600_000 } as { text: string });
    await client.query('reset statement_timeout');
  } finally {
    client.release();
  }
}

const INSERT_TURNS = `
  insert into turns (turn_id, conversation_id, user_id, role, content, token_count, parent_turn_id, model, served_model, pool,
    finish_reason, usage, stream_offsets, created_at)
  select turn_id, conversation_id, $1, role, content, token_count, parent_turn_id, model, model, model, finish_reason,
    case when role = 'assistant' then jsonb_build_object('prompt_tokens', 100, 'completion_tokens', token_count,
      'cached_tokens', 0, 'cost_usd', 0.0001) end, stream_offsets::integer[], created_at
  from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::integer[], $7::uuid[], $8::text[], $9::text[], $10::text[],
    $11::timestamptz[]) as t(turn_id, conversation_id, role, content, token_count, parent_turn_id, model, finish_reason,
      stream_offsets, created_at)`;

const INSERT_CONVERSATIONS = `
  insert into conversations (conversation_id, user_id, org_id, model, region, title, active_turn_id, last_turn_id, version,
    memory_through_turn_id, created_at, last_turn_at)
  select id, $1, $2, 'colloquy-mini', 'local', 'a conversation', last, last, version, last, last_at, last_at
  from unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::timestamptz[]) as t(id, last, version, last_at)`;

const INSERT_REQUESTS = `
  insert into turn_requests (turn_id, user_turn_id, conversation_id, user_id, params, model, pool, created_at, ended_at)
  select turn_id, parent_turn_id, conversation_id, user_id, '{"maxTokens":512,"temperature":1,"topP":1,"seed":1,"stop":[],"reasoning":false}',
    'colloquy-mini', 'mini', created_at, created_at
  from turns where role = 'assistant' and user_id = $1`;

const INSERT_LEDGER = `
  insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens, completion_tokens,
    cached_tokens, cost_usd, created_at)
  select t.turn_id, t.user_id, c.org_id, t.conversation_id, t.model, t.finish_reason, 100, t.token_count, 0, 0.0001, t.created_at
  from turns t join conversations c using (conversation_id) where t.role = 'assistant' and t.user_id = $1`;
