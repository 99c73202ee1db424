// What it costs a write that its place is remembered, and which share of reads replicas then answer, beside the cheaper mark
// that says only when was written: `npm start -- --detach --replicas 2`, then `npm run bench:replicas`. Prints JSON lines.
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { newConversationId } from '../../contracts/ids.ts';
import type { ConversationId, OrgId, UserId } from '../../contracts/ids.ts';
import type { WriteMarks } from '../../contracts/write-marks.ts';
import {
  changeConversation,
  findConversation,
  insertConversation,
} from '../../postgres/conversations.ts';
import { openStores } from '../../postgres/open-stores.ts';
import { createPool, row, rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { singleStore } from '../../postgres/stores.ts';
import type { Stores } from '../../postgres/stores.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import { RedisWriteMarks } from '../../redis/write-marks.ts';
import { runningSystem } from '../running-system.ts';
import { summary } from '../statistics.ts';

const NUM_OWNERS = 50;
const NUM_ROUNDS = Number(process.env['ROUNDS'] ?? 600);
const SHARE_MS = Number(process.env['SHARE_MS'] ?? 15_000);
/** Between writes and reads of the share's measure: an owner writes every five seconds. */
const WRITE_EVERY_MS = 100;
const READ_EVERY_MS = 4;

interface Owned {
  readonly userId: UserId;
  readonly conversationId: ConversationId;
}

async function main(): Promise<void> {
  const system = runningSystem();
  const urls = system.postgres_nodes?.map(({ url }) => url) ?? [];
  if (urls.length < 2)
    throw new Error('The system has no replicas: npm start -- --detach --replicas 2');
  const redis = connectRedis({
    url: system.redis,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
  });
  const pool = createPool({ url: system.postgres, poolSize: 20 }, () => undefined);
  const marks = new RedisWriteMarks(redis);
  const timeOnly: WriteMarks = {
    remember: (database, userId) => marks.remember(`time-${database}`, userId, null),
    recall: (database, userId) => marks.recall(`time-${database}`, userId),
  };
  const reads = { primary: 0, replica: 0 };
  const open = (each: WriteMarks): Stores =>
    openStores({
      settings: {
        url: system.postgres,
        shardUrls: [],
        replicaUrls: urls.filter((url) => url !== system.postgres),
        ...{ poolSize: 20, maxLagMs: 10_000, namedStatements: true },
      },
      marks: each,
      onError: () => undefined,
      onRead: (node) => (reads[node] += 1),
      onLag: () => undefined,
    });
  const variants = {
    'one pool': singleStore(pool),
    'marked by position': open(marks),
    'marked by time only': open(timeOnly),
  };
  const owned = await makeOwners(pool);
  await pause(1000);
  for (const [name, stores] of Object.entries(variants))
    for (const each of owned) await write(stores, each, name);
  const [writeMs, readMs] = await timings(variants, owned);
  for (const name of Object.keys(variants))
    print({
      what: 'ms of one after another',
      store: name,
      write: writeMs[name],
      read: readMs[name],
    });
  for (const [name, stores] of Object.entries(variants)) {
    if (name === 'one pool') continue;
    Object.assign(reads, { primary: 0, replica: 0 });
    await load(stores, owned);
    const share = reads.replica / (reads.replica + reads.primary);
    print({ what: 'reads by replicas', store: name, ...reads, share: Number(share.toFixed(3)) });
  }
  await rows(pool, 'delete from conversations where model = $1', ['bench-marks']);
  await Promise.all(Object.values(variants).map((stores) => stores.end()));
  redis.disconnect();
}

/** In turns, so that the machine's other load meets all alike. */
async function timings(
  variants: Readonly<Record<string, Stores>>,
  owned: readonly Owned[],
): Promise<[Record<string, object>, Record<string, object>]> {
  const writes: Record<string, number[]> = {};
  const reads: Record<string, number[]> = {};
  for (let round = 0; round < NUM_ROUNDS; round += 1) {
    const each = owned[round % owned.length];
    if (each === undefined) continue;
    for (const [name, stores] of Object.entries(variants)) {
      const since = performance.now();
      await write(stores, each, String(round));
      const written = performance.now();
      await read(stores, each);
      (writes[name] ??= []).push(written - since);
      (reads[name] ??= []).push(performance.now() - written);
    }
  }
  const all = (of: Record<string, number[]>): Record<string, object> =>
    Object.fromEntries(Object.entries(of).map(([name, sample]) => [name, summary(sample)]));
  return [all(writes), all(reads)];
}

async function load(stores: Stores, owned: readonly Owned[]): Promise<void> {
  const until = performance.now() + SHARE_MS;
  const any = (): Owned => owned[Math.floor(Math.random() * owned.length)] as Owned;
  const writer = async (): Promise<void> => {
    while (performance.now() < until) {
      await write(stores, any(), randomUUID());
      await pause(WRITE_EVERY_MS);
    }
  };
  const reader = async (): Promise<void> => {
    while (performance.now() < until) {
      await read(stores, any());
      await pause(READ_EVERY_MS);
    }
  };
  await Promise.all([writer(), reader(), reader()]);
}

async function write(stores: Stores, { userId, conversationId }: Owned, title: string) {
  await changeConversation(stores.primaryOf(userId), userId, conversationId, { title });
}

async function read(stores: Stores, { userId, conversationId }: Owned): Promise<void> {
  const db = await stores.readerOf(userId, conversationId);
  await findConversation(db, userId, conversationId);
}

async function makeOwners(pool: Pool): Promise<Owned[]> {
  const made = await row<{ org_id: OrgId }>(
    pool,
    `insert into organisations (name) values ('bench-marks') returning org_id`,
  );
  const orgId = made?.org_id;
  if (orgId === undefined) throw new Error('no organisation was made');
  const owned: Owned[] = [];
  for (let index = 0; index < NUM_OWNERS; index += 1) {
    const user = await row<{ user_id: UserId }>(
      pool,
      `insert into users (org_id, name, tier) values ($1, 'bench', 'paid') returning user_id`,
      [orgId],
    );
    if (user === null) throw new Error('no user was made');
    const conversationId = newConversationId();
    const fixed = { orgId, model: 'bench-marks', region: 'local', systemPrompt: null, title: null };
    await insertConversation(pool, { ...fixed, conversationId, userId: user.user_id });
    owned.push({ userId: user.user_id, conversationId });
  }
  return owned;
}

function print(line: object): void {
  console.log(JSON.stringify(line));
}

void main();
