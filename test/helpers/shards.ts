// Several databases of the test server as shards of one system.
import { moveSlot } from '../../postgres/shard-move.ts';
import { connectShards, disconnectShard } from '../../postgres/shard-setup.ts';
import { openStores } from '../../postgres/open-stores.ts';
import type { Stores } from '../../postgres/stores.ts';
import { createTestDatabase } from './database.ts';
import type { TestDatabase } from './database.ts';

export interface TestShards {
  /** By shard; the first is the directory. */
  readonly urls: readonly string[];
  /** The same, for the role that processes run as. */
  readonly appUrls: readonly string[];
  move(slot: number, target: number): Promise<void>;
  drop(): Promise<void>;
}

export async function createTestShards(numShards: number): Promise<TestShards> {
  const databases: TestDatabase[] = [];
  for (let shard = 0; shard < numShards; shard += 1) databases.push(await createTestDatabase());
  const urls = databases.map(({ url }) => url);
  await connectShards(urls);
  return {
    urls,
    appUrls: databases.map(({ appUrl }) => appUrl),
    move: async (slot, target) => {
      await moveSlot(urls, slot, target, { graceMs: 0 });
    },
    drop: async () => {
      for (const [shard, url] of urls.entries())
        if (shard > 0) await disconnectShard(url, shard, urls[0] ?? '');
      for (const database of databases) await database.drop();
    },
  };
}

/** A process's own view of them, as from its configuration. @param poolSize connections to each */
export function openTestStores(
  [url = '', ...shardUrls]: readonly string[],
  poolSize: number,
): Stores {
  return openStores({
    settings: {
      url,
      shardUrls,
      replicaUrls: [],
      poolSize,
      maxLagMs: 10_000,
      namedStatements: true,
    },
    marks: {
      remember: () => Promise.reject(new Error('there are no replicas')),
      recall: () => Promise.reject(new Error('there are no replicas')),
    },
    onError: () => undefined,
    onRead: () => undefined,
    onLag: () => undefined,
  });
}
