// A year of conversations in the store: what a page costs, what a turn's two statements cost, what a turn weighs on disk,
// and which months a statement asks.
import { newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { findConversation, findConversationWithRunning } from '../../postgres/conversations.ts';
import type { StoredConversation } from '../../postgres/conversations.ts';
import { promptRequest, recentTurns } from '../../postgres/conversation-prompt.ts';
import { historyPage } from '../../postgres/history.ts';
import { row, rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { acceptTurn } from '../../postgres/turn-requests.ts';
import { findReplies, findTurn, openTurn, storeAssistantTurn } from '../../postgres/turns.ts';
import type { Report } from '../engine/report.ts';
import { summary } from '../statistics.ts';
import { caught, explain, locksOf, monthsOf } from './explained.ts';
import { loadTurns } from './generated-turns.ts';
import type { Loaded, LoadSize } from './generated-turns.ts';
import { endOf, PARAMS } from './made-turn.ts';
import { randomNumbers } from '../random-numbers.ts';

export interface MillionOptions extends LoadSize {
  readonly pages: number;
  readonly appends: number;
  /** Callers at once. */
  readonly clients: number;
}

const LIMIT = 50;
export async function runMillion(db: Pool, report: Report, options: MillionOptions): Promise<void> {
  const startedAt = performance.now();
  const owner = await loadTurns(db, options);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const weight = await row<{ turns: number; bytes: number; partitions: number; content: number }>(
    db,
    `select (select count(*) from turns) as turns, (select avg(octet_length(content)) from turns) as content,
       (select count(*) from pg_inherits where inhparent = 'turns'::regclass) as partitions,
       (select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'turns'::regclass) as bytes`,
  );
  if (weight === null) throw new Error('the database does not answer');
  report.line({
    measure: 'loaded',
    seconds,
    turns: weight.turns,
    partitions: weight.partitions,
    contentBytesPerTurn: Math.round(weight.content),
    bytesPerTurn: Math.round(weight.bytes / weight.turns),
  });
  const ids = (
    await rows<{ id: ConversationId }>(
      db,
      'select conversation_id as id from conversations where user_id = $1 order by 1',
      [owner.userId],
    )
  ).map(({ id }) => id);
  const random = randomNumbers(options.seed + 1);
  const one = (share: number) => (): ConversationId => {
    const id = ids[Math.floor((1 - share * random()) * ids.length)] ?? ids.at(-1);
    if (id === undefined) throw new Error('there are no conversations');
    return id;
  };
  const anyOf = one(1);
  // Who writes is mostly in a conversation of these days.
  const recentOf = one(0.05);
  const pages = await measurePages(db, owner.userId, anyOf, random, options);
  report.line({
    measure: 'page',
    pages: pages.ms.length,
    ...summary(pages.ms),
    months: pages.months,
  });
  const appends = await measureAppends(db, owner, recentOf, options);
  report.line({ measure: 'open', ...summary(appends.open) });
  report.line({ measure: 'store', ...summary(appends.store) });
  report.line({ measure: 'append', ...summary(appends.both) });
  const plans = await planRows(db, owner, recentOf);
  for (const plan of plans) report.line({ measure: 'plan', ...plan });
  report.table([
    ['measure', 'p50 ms', 'p99 ms', 'max ms'],
    ...Object.entries({ page: pages.ms, ...appends }).map(([name, ms]) => {
      const { p50, p99, max } = summary(ms);
      return [name, p50, p99, max];
    }),
  ]);
  report.table([
    ['statement', 'months asked', 'sequential scans', 'relations locked'],
    ...plans.map((plan) => [plan.statement, plan.months, plan.scanned.length, plan.locks]),
  ]);
}

/** Random conversations, random pages of them; and how many pages asked 1, 2, … months. */
async function measurePages(
  db: Pool,
  userId: UserId,
  anyOf: () => ConversationId,
  random: () => number,
  { pages, clients }: MillionOptions,
): Promise<{ ms: number[]; months: Record<number, number> }> {
  const ms: number[] = [];
  const months: Record<number, number> = {};
  await together(clients, pages, async (index) => {
    const id = anyOf();
    const startedAt = performance.now();
    const found = await findConversation(db, userId, id);
    const newest = await historyPage(db, id, found?.lastTurnId ?? null, null, LIMIT);
    ms.push(performance.now() - startedAt);
    const first = newest.turns[0]?.turnId;
    const isOlder = newest.hasMore && first !== undefined && random() < 0.5;
    const page = (on: Pool): Promise<unknown> =>
      historyPage(on, id, found?.lastTurnId ?? null, isOlder ? { before: first } : null, LIMIT);
    if (isOlder) {
      const olderAt = performance.now();
      await findConversation(db, userId, id);
      await page(db);
      ms.push(performance.now() - olderAt);
    }
    if (index % 10 !== 0) return;
    const [statement] = await caught(db, page);
    if (statement === undefined) return;
    const count = monthsOf(await explain(db, statement)).length;
    months[count] = (months[count] ?? 0) + 1;
  });
  return { ms, months };
}

async function measureAppends(
  db: Pool,
  owner: Loaded,
  anyOf: () => ConversationId,
  { appends, clients }: MillionOptions,
): Promise<{ open: number[]; store: number[]; both: number[] }> {
  const measured = { open: [] as number[], store: [] as number[], both: [] as number[] };
  await together(clients, appends, async () => {
    const conversation = await findConversation(db, owner.userId, anyOf());
    if (conversation === null) return;
    const turnId = await accepted(db, owner, conversation);
    const startedAt = performance.now();
    await openTurn(db, turnId);
    const openedAt = performance.now();
    await storeAssistantTurn(db, endOf(turnId));
    const storedAt = performance.now();
    measured.open.push(openedAt - startedAt);
    measured.store.push(storedAt - openedAt);
    measured.both.push(storedAt - startedAt);
  });
  return measured;
}

async function accepted(
  db: Pool,
  { userId }: Loaded,
  { conversationId, activeTurnId }: StoredConversation,
): Promise<TurnId> {
  const [userTurnId, turnId] = [newTurnId(), newTurnId()];
  const place = { parentTurnId: activeTurnId, replacesTurnId: null, isRegeneration: false };
  const turn = { turnId, userTurnId, conversationId, userId, ...place };
  await acceptTurn(
    db,
    {
      ...turn,
      content: 'what would you say to that? '.repeat(4),
      params: PARAMS,
      model: 'colloquy-mini',
      pool: 'mini',
      idempotencyKey: null,
      bodyHash: null,
    },
    false,
  );
  return turnId;
}

export interface PlanRow {
  readonly statement: string;
  readonly months: number;
  readonly scanned: readonly string[];
  readonly locks: number;
}

/** Each statement of the turn path and of reading, as it is run in a conversation with many turns. */
async function planRows(db: Pool, owner: Loaded, anyOf: () => ConversationId): Promise<PlanRow[]> {
  const { userId } = owner;
  const conversation = await findConversation(db, userId, anyOf());
  const { conversationId, activeTurnId, lastTurnId } = conversation ?? {};
  if (conversation === null || conversationId === undefined) throw new Error('no conversation');
  if (activeTurnId === null || activeTurnId === undefined) throw new Error('no turn');
  const turnId = await accepted(db, owner, conversation);
  const work: Record<string, (on: Pool) => Promise<unknown>> = {
    findConversationWithRunning: (on) => findConversationWithRunning(on, userId, conversationId),
    'historyPage, newest': (on) => historyPage(on, conversationId, lastTurnId ?? null, null, LIMIT),
    'historyPage, older': (on) =>
      historyPage(on, conversationId, null, { before: activeTurnId }, LIMIT),
    findTurn: (on) => findTurn(on, conversationId, activeTurnId),
    findReplies: (on) => findReplies(on, conversationId, activeTurnId),
    openTurn: (on) => openTurn(on, turnId),
    promptRequest: (on) => promptRequest(on, { turnId, conversationId }, false),
    recentTurns: (on) => recentTurns(on, conversationId, turnId, 64, 4096),
    storeAssistantTurn: (on) => storeAssistantTurn(on, endOf(turnId)),
  };
  const found: PlanRow[] = [];
  for (const [statement, run] of Object.entries(work)) {
    const [first] = await caught(db, run);
    if (first === undefined) continue;
    const explained = await explain(db, first);
    found.push({
      statement,
      months: monthsOf(explained).length,
      // A handful of users is read faster than their index.
      scanned: explained.scanned.filter((name) => name !== 'users'),
      locks: await locksOf(db, first),
    });
  }
  return found;
}

/** Runs `work` `count` times, by `clients` callers at once. */
async function together(
  clients: number,
  count: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let index = next++; index < count; index = next++) await work(index);
    }),
  );
}
