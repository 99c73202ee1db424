// The hot statements ask only the months in which their rows can be, read no table from end to end, and lock no more than
// they ask: at their tenth run, when a prepared statement may have changed its plan.
import { caught, explain, locksOf, monthsOf } from '../../../bench/store/explained.ts';
import { loadTurns } from '../../../bench/store/generated-turns.ts';
import type { Loaded } from '../../../bench/store/generated-turns.ts';
import { endOf, PARAMS } from '../../../bench/store/made-turn.ts';
import { firstTurnIdOf, newTurnId } from '../../../contracts/ids.ts';
import type { ConversationId, TurnId } from '../../../contracts/ids.ts';
import { findConversation } from '../../../postgres/conversations.ts';
import { historyPage, turnLinks } from '../../../postgres/history.ts';
import { createPool, rows } from '../../../postgres/pool.ts';
import type { Pool } from '../../../postgres/pool.ts';
import { acceptTurn } from '../../../postgres/turn-requests.ts';
import { findReplies, findTurn, openTurn, storeAssistantTurn } from '../../../postgres/turns.ts';
import { createTestDatabase } from '../../helpers/database.ts';

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let db: Pool;
let owner: Loaded;
/** A conversation of some months ago, within one month. */
let old: { id: ConversationId; first: TurnId; last: TurnId };

beforeAll(async () => {
  database = await createTestDatabase();
  db = createPool({ url: database.url, poolSize: 2 }, () => undefined);
  owner = await loadTurns(db, { conversations: 300, turns: 6000, months: 12, seed: 1 });
  const [found] = await rows<{ id: ConversationId; first: TurnId; last: TurnId }>(
    db,
    `select conversation_id as id, (array_agg(turn_id order by turn_id))[1] as first,
       (array_agg(turn_id order by turn_id desc))[1] as last
     from turns where turn_id < uuidv7_floor(now() - interval '100 days')
     group by 1 having count(*) > 8 and count(distinct tableoid) = 1 and count(distinct created_at::date) < 5
       and min(extract(day from created_at)) > 3
     order by 1 limit 1`,
  );
  if (found === undefined) throw new Error('no conversation lies within a month');
  old = found;
}, 60_000);
afterAll(async () => {
  await db.end();
  await database.drop();
});

/** A turn that is accepted in the old conversation. */
async function accepted(): Promise<TurnId> {
  const [userTurnId, turnId] = [newTurnId(), newTurnId()];
  const conversation = await findConversation(db, owner.userId, old.id);
  await acceptTurn(
    db,
    {
      turnId,
      userTurnId,
      conversationId: old.id,
      userId: owner.userId,
      parentTurnId: conversation?.activeTurnId ?? null,
      replacesTurnId: null,
      isRegeneration: false,
      content: 'a message',
      params: PARAMS,
      model: 'm',
      pool: 'p',
      idempotencyKey: null,
      bodyHash: null,
    },
    false,
  );
  return turnId;
}

interface Case {
  readonly name: string;
  readonly run: (on: Pool) => Promise<unknown>;
  /** Tables and indexes beside the month's own two, and the parent's. */
  readonly maxLocks: number;
}

it('holds for pages, single turns and both statements of a turn', async () => {
  const page = (end: Parameters<typeof historyPage>[3]) => (on: Pool) =>
    historyPage(on, old.id, old.last, end, 50);
  const opened = await accepted();
  const cases: Case[] = [
    { name: 'newest page', run: page(null), maxLocks: 4 },
    { name: 'older page', run: page({ before: old.last }), maxLocks: 4 },
    { name: 'page up to a turn', run: page({ upTo: old.last }), maxLocks: 4 },
    { name: 'one turn', run: (on) => findTurn(on, old.id, old.last), maxLocks: 4 },
    { name: 'replies', run: (on) => findReplies(on, old.id, old.last), maxLocks: 4 },
    // Of conversations, requests, users and the ledger with their indexes too.
    { name: 'open', run: (on) => openTurn(on, opened), maxLocks: 12 },
    { name: 'store', run: (on) => storeAssistantTurn(on, endOf(opened)), maxLocks: 12 },
  ];
  for (const { name, run, maxLocks } of cases) {
    const [statement] = await caught(db, run);
    if (statement === undefined) throw new Error(`${name} asked nothing`);
    const explained = await explain(db, statement);
    const scanned = explained.scanned.filter((table) => table !== 'users');
    const months = monthsOf(explained);
    expect({ name, scanned, months: months.length <= 2 }).toEqual({
      name,
      scanned: [],
      months: true,
    });
    const locks = await locksOf(db, statement);
    expect({ name, locks, isFew: locks <= maxLocks }).toEqual({ name, locks, isFew: true });
  }
});

it('finds the links below a turn from its month on', async () => {
  const links = await turnLinks(db, old.id, firstTurnIdOf(old.first));
  expect(links[0]?.turnId).toBe(old.first);
  expect(links.length).toBeGreaterThan(8);
});

it('gives the same pages with their bounds as without', async () => {
  const lastTurnId = (await findConversation(db, owner.userId, old.id))?.lastTurnId ?? null;
  expect(lastTurnId).not.toBeNull();
  const bounded = await historyPage(db, old.id, lastTurnId, null, 100);
  const unbounded = await rows<{ turn_id: TurnId }>(
    db,
    'select turn_id from turns where conversation_id = $1 order by turn_id',
    [old.id],
  );
  expect(bounded.turns.map(({ turnId }) => turnId)).toEqual(
    unbounded.map((each) => each.turn_id).slice(-100),
  );
});
