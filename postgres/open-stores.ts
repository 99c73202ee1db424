// The stores of a process from its configuration: one database as a rule, or several shards.
import { createPool } from './pool.ts';
import { shardedStores } from './sharded-stores.ts';
import { singleStore } from './stores.ts';
import type { Stores } from './stores.ts';

export interface StoreSettings {
  readonly url: string;
  /** Shards 1, 2, …; `url` is shard 0. */
  readonly shardUrls: readonly string[];
  /** Connections to each database. */
  readonly poolSize: number;
}

/** @param onError hears of idle connections that broke, and of shard maps that could not be read */
export function openStores(
  { url, shardUrls, poolSize }: StoreSettings,
  onError: (error: unknown) => void,
): Stores {
  const open = (each: string): Stores => singleStore(createPool({ url: each, poolSize }, onError));
  return shardUrls.length === 0 ? open(url) : shardedStores([url, ...shardUrls].map(open), onError);
}
