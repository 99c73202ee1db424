// The set-up of docs/deploy/postgres.md on this machine: three nodes under Patroni, a PgBouncer in front of each, HAProxy in
// front of those.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { newConversationId } from '../../contracts/ids.ts';
import type { OrgId, UserId } from '../../contracts/ids.ts';
import type { WriteMarks } from '../../contracts/write-marks.ts';
import { changeFacts } from '../../postgres/memory-facts.ts';
import { insertConversation, listConversations } from '../../postgres/conversations.ts';
import { openStores } from '../../postgres/open-stores.ts';
import type { Stores } from '../../postgres/stores.ts';
import { acceptsConnections } from '../../runtime/probes.ts';
import { deployConfig } from '../../runtime/deploy/config-file.ts';
import { PortBook } from '../../runtime/ports.ts';
import { startPatroni } from '../helpers/patroni.ts';
import type { Patroni } from '../helpers/patroni.ts';
import { reportTrials } from '../helpers/trials.ts';
import { ROOT } from '../helpers/test-home.ts';
import { waitFor } from '../helpers/wait-for.ts';

/** The examples' addresses, by node. */
const HOSTS = ['10.0.1.1', '10.0.1.2', '10.0.1.3'];
const EXAMPLE_NAMES = ['one', 'two', 'three'];

let patroni: Patroni | null = null;
let folder: string;
let owner: { userId: UserId; orgId: OrgId };
/** Of HAProxy, then of each PgBouncer. */
let urls: string[];
const children: ChildProcess[] = [];
const opened: Stores[] = [];

/** No reader but the one test: marks in memory do. */
function memoryMarks(): WriteMarks {
  const marks = new Map<string, Awaited<ReturnType<WriteMarks['recall']>>>();
  return {
    remember: async (_database, userId, position) => void marks.set(userId, { ageMs: 0, position }),
    recall: async (_database, userId) => marks.get(userId) ?? { ageMs: 60_000, position: null },
  };
}

function storesOf(namedStatements: boolean): Stores {
  const [url = '', ...replicaUrls] = urls;
  const stores = openStores({
    settings: { url, replicaUrls, shardUrls: [], poolSize: 10, maxLagMs: 10_000, namedStatements },
    marks: memoryMarks(),
    onError: () => undefined,
    onRead: () => undefined,
    onLag: () => undefined,
  });
  opened.push(stores);
  return stores;
}

function start(command: string, args: readonly string[]): void {
  const child = spawn(command, [...args], { stdio: 'ignore' });
  children.push(child);
}

/** PgBouncer does not run as root. */
const asNobody =
  process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];

async function startBouncer(index: number, port: number): Promise<string> {
  const server = new URL(patroni?.nodes[index]?.url ?? '');
  const users = join(folder, `userlist-${index}.txt`);
  const config = join(folder, `pgbouncer-${index}.ini`);
  writeFileSync(users, `"${server.username}" "${server.password}"\n`, { mode: 0o644 });
  const text = deployConfig(ROOT, 'pgbouncer.ini', {
    'host=10.0.1.1 port=5432': `host=127.0.0.1 port=${server.port}`,
    'listen_addr = 10.0.1.1': 'listen_addr = 127.0.0.1',
    'listen_port = 6432': `listen_port = ${port}`,
    '/etc/pgbouncer/userlist.txt': users,
  });
  writeFileSync(config, text, { mode: 0o644 });
  const [command, ...args] = [...asNobody, 'pgbouncer', config];
  if (command !== undefined) start(command, args);
  await waitFor('PgBouncer listens', () => acceptsConnections('127.0.0.1', port));
  server.port = String(port);
  return server.href;
}

beforeAll(async () => {
  folder = mkdtempSync('/tmp/colloquy-pgbouncer-');
  chmodSync(folder, 0o755); // PgBouncer reads its files as another user.
  const ports = new PortBook(join(folder, 'ports.json'));
  patroni = await startPatroni(folder, ports);
  const values: Record<string, string> = {};
  urls = [];
  for (const [index, host] of HOSTS.entries()) {
    const port = await ports.portFor(`bouncer-${index}`);
    const rest = patroni.nodes[index]?.restPort;
    urls.push(await startBouncer(index, port));
    values[`server ${EXAMPLE_NAMES[index]} ${host}:6432 check port 8008`] =
      `server ${EXAMPLE_NAMES[index]} 127.0.0.1:${port} check port ${rest}`;
  }
  const front = await ports.portFor('haproxy');
  const config = join(folder, 'haproxy.cfg');
  writeFileSync(
    config,
    deployConfig(ROOT, 'haproxy-postgres.cfg', {
      ...values,
      'bind 127.0.0.1:5000': `bind 127.0.0.1:${front}`,
    }),
  );
  start('haproxy', ['-f', config]);
  await waitFor('HAProxy listens', () => acceptsConnections('127.0.0.1', front));
  const address = new URL(urls[0] ?? '');
  address.port = String(front);
  urls.unshift(address.href);
  owner = await newOwner();
}, 180_000);

afterAll(async () => {
  await Promise.all(opened.map((stores) => stores.end()));
  children.forEach((child) => child.kill());
  patroni?.stop();
  if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function newOwner(): Promise<typeof owner> {
  const primary = (await patroni?.primary()) ?? null;
  const client = new Client({ connectionString: primary?.url ?? '' });
  await client.connect();
  const { rows } = await client.query<{ org_id: OrgId; user_id: UserId }>(
    `with org as (insert into organisations (name) values ('deploy') returning org_id)
     insert into users (org_id, name, tier) select org_id, 'deploy', 'paid' from org returning org_id, user_id`,
  );
  await client.end();
  const [made] = rows;
  if (made === undefined) throw new Error('No user was made.');
  return { userId: made.user_id, orgId: made.org_id };
}

const newRow = () => ({
  ...{ ...owner, conversationId: newConversationId() },
  ...{ model: 'm', region: 'local', systemPrompt: null, title: randomUUID() },
});

const factOf = (index: number) => ({
  add: [{ text: `fact ${index}`, vector: null }],
  edit: [],
  remove: [],
});

/** Statements and transactions of many callers at once: PgBouncer lends each another connection. */
async function useStores(stores: Stores): Promise<void> {
  const each = Array.from({ length: 60 }, async (_, index) => {
    const db = stores.primaryOf(owner.userId);
    if (index % 3 === 0) await changeFacts(db, owner.userId, factOf(index), null);
    else await insertConversation(db, newRow());
    await listConversations(await stores.readerOf(owner.userId, null), owner.userId, null, 5);
  });
  await Promise.all(each);
}

it('serves whole statements and transactions over PgBouncer in transaction mode, without names', async () => {
  const stores = storesOf(false);
  await waitFor('the primary is served', () =>
    insertConversation(stores.primaryOf(owner.userId), newRow()).then(
      () => true,
      () => false,
    ),
  );
  for (let round = 0; round < 5; round += 1) await useStores(stores);
}, 60_000);

it('cannot with names, below PgBouncer 1.21: the setting is needed', async () => {
  const stores = storesOf(true);
  const rounds = async (): Promise<void> => {
    for (let round = 0; round < 20; round += 1) await useStores(stores);
  };
  // "prepared statement … does not exist", "… already exists", or a connection that PgBouncer gives up for it.
  await expect(rounds()).rejects.toMatchObject({ name: 'AppError' });
}, 60_000);

it('goes on at the same address when the primary’s machine is gone, and is read meanwhile', async () => {
  const stores = storesOf(false);
  const write = (): Promise<boolean> =>
    insertConversation(stores.primaryOf(owner.userId), newRow()).then(
      () => true,
      () => false,
    );
  await waitFor('it is written', write);
  const before = (await patroni?.primary()) ?? null;
  if (before === null) throw new Error('There is no primary.');
  patroni?.killMachine(before);
  const since = performance.now();
  let isWritten = false;
  let numReads = 0;
  const reading = (async () => {
    while (!isWritten) {
      const db = await stores.readerOf(owner.userId, null);
      expect(await listConversations(db, owner.userId, null, 1)).toHaveLength(1);
      numReads += 1;
    }
  })();
  await waitFor('it is written again', write, 60_000);
  isWritten = true;
  await reading;
  const gapMs = Math.round(performance.now() - since);
  reportTrials('the machine of Patroni’s primary killed', { gapMs, numReads });
  expect((await patroni?.primary())?.name).not.toBe(before.name);
}, 120_000);
