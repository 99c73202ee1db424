// Looks for texts in everything that keeps something: rows, keys, histories, files, logs, metrics.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { dataFolder, flushFiles, rowsWith } from '../../postgres/deletion-proof.ts';
import { isCluster } from '../../redis/connection.ts';
import type { Redis } from '../../redis/connection.ts';
import type { HomeFolder } from '../home-folder.ts';
import type { ProcessEntry } from '../run-files.ts';
import { holdsAny, needlesOf, needlesOfWords } from './needles.ts';

export interface Searched {
  readonly home: HomeFolder;
  readonly ownerUrl: string;
  readonly redis: Redis;
  readonly temporal: Client;
  readonly processes: readonly ProcessEntry[];
}

/** What is looked for. */
export interface Texts {
  /** See needlesOf. */
  readonly canaries: readonly string[];
  /** Of replies: see needlesOfWords. */
  readonly words: readonly string[];
}

/** Of one store: how much was looked at, and where a text was. */
export interface Finding {
  readonly store: string;
  readonly searched: string;
  readonly hits: readonly string[];
}

export async function searchStores(
  target: Searched,
  { canaries, words }: Texts,
): Promise<Finding[]> {
  const needles = [...canaries.flatMap(needlesOf), ...words.flatMap(needlesOfWords)];
  await flushFiles(target.ownerUrl);
  const { home } = target;
  const data = await dataFolder(target.ownerUrl);
  return [
    await searchRows(target.ownerUrl, [...canaries, ...words]),
    data === null || !existsSync(data)
      ? { store: 'PostgreSQL files', searched: 'not on this machine', hits: [] }
      : searchFiles('PostgreSQL files', data, needles),
    await searchKeys(target.redis, needles),
    searchFiles('Valkey files', home.valkey, needles),
    await searchHistories(target.temporal, needles),
    searchFiles('Temporal files', home.temporal, needles),
    searchFiles('logs', home.logs, needles),
    await searchMetrics(target.processes, needles),
  ];
}

async function searchRows(ownerUrl: string, texts: readonly string[]): Promise<Finding> {
  const hits: string[] = [];
  for (const text of texts) {
    const found = await rowsWith(ownerUrl, text);
    hits.push(...Object.entries(found).map(([table, count]) => `${table} (${count})`));
  }
  return { store: 'PostgreSQL rows', searched: 'every table', hits };
}

/** Names and values; a value in the form in which Redis would hand it to another server. */
async function searchKeys(redis: Redis, needles: readonly Buffer[]): Promise<Finding> {
  const hits: string[] = [];
  let numKeys = 0;
  for (const node of isCluster(redis) ? redis.nodes('master') : [redis]) {
    let cursor = '0';
    do {
      const [next, keys]: [string, string[]] = await node.scan(cursor, 'COUNT', 500);
      cursor = next;
      for (const key of keys) {
        numKeys += 1;
        const value = await node.dumpBuffer(key);
        if (holdsAny(Buffer.from(key), needles) || (value !== null && holdsAny(value, needles)))
          hits.push(key);
      }
    } while (cursor !== '0');
  }
  return { store: 'Valkey keys', searched: `${numKeys} keys`, hits };
}

/** Every execution's every event, with payloads as the bytes that they are. */
async function searchHistories(client: Client, needles: readonly Buffer[]): Promise<Finding> {
  const hits: string[] = [];
  let numExecutions = 0;
  for await (const { workflowId, runId } of client.workflow.list()) {
    numExecutions += 1;
    const history = await client.workflow
      .getHandle(workflowId, runId)
      .fetchHistory()
      .catch(() => null); // deleted meanwhile
    if (history === null) continue;
    const payloads: Buffer[] = [];
    const text = JSON.stringify(history, (_key, value: unknown) => {
      if (!(value instanceof Uint8Array)) return value;
      payloads.push(Buffer.from(value));
      return undefined;
    });
    if ([Buffer.from(text), ...payloads].some((each) => holdsAny(each, needles)))
      hits.push(workflowId);
  }
  return { store: 'Temporal histories', searched: `${numExecutions} executions`, hits };
}

function searchFiles(store: string, folder: string, needles: readonly Buffer[]): Finding {
  const hits: string[] = [];
  let numBytes = 0;
  let numFiles = 0;
  const names = existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: 'utf8' })
    : [];
  for (const name of names) {
    const path = join(folder, name);
    const bytes = readFileIfAny(path);
    if (bytes === null) continue;
    numFiles += 1;
    numBytes += bytes.length;
    if (holdsAny(bytes, needles)) hits.push(name);
  }
  return { store, searched: `${numFiles} files, ${Math.ceil(numBytes / 2 ** 20)} MB`, hits };
}

/** Null for folders, sockets, and what went away meanwhile. */
function readFileIfAny(path: string): Buffer | null {
  try {
    return statSync(path).isFile() ? readFileSync(path) : null;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return null;
    throw error;
  }
}

async function searchMetrics(
  processes: readonly ProcessEntry[],
  needles: readonly Buffer[],
): Promise<Finding> {
  const hits: string[] = [];
  const pages = processes.flatMap(({ name, metrics_url: url }) =>
    url === undefined ? [] : [{ name, url }],
  );
  for (const { name, url } of pages) {
    const page = Buffer.from(await (await fetch(url)).arrayBuffer());
    if (holdsAny(page, needles)) hits.push(name);
  }
  return { store: 'metrics', searched: `${pages.length} pages`, hits };
}
